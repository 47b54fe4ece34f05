// What hostile requests cost the server, over what plain ones do: docs/benchmarks.md has the figures.
import t from 'tap';
import { heldCosts, requestCosts } from './asymmetry.ts';

/** The bar; Envoy calls 100 a vulnerability (docs/root/intro/arch_overview/security/threat_model.rst). */
const bar = 10;

t.test('no kind of request costs the server ten times what a plain one does', { timeout: 480_000 }, async (t) => {
  const { costs, keptBytes } = await requestCosts(300);
  // What shares a core with the server makes some kinds of work slower than others, now and then: asked up to three times.
  let best = costs;
  for (let asked = 1; asked < 3 && best.some(({ ratio }) => ratio >= bar); asked++) {
    const again = (await requestCosts(300)).costs;
    best = best.map((cost, index) => [cost, again[index] ?? cost].sort((a, b) => a.ratio - b.ratio)[0] ?? cost);
  }
  for (const { micros, name, ratio } of best) {
    t.ok(ratio < bar, `${name}: ${micros.toFixed(0)} µs, ${ratio.toFixed(2)} of plain`);
  }
  t.ok(keptBytes < 1_024, `${keptBytes.toFixed(0)} bytes of memory are kept for each request`);
});

t.test(
  'no connection that is held open costs ten times one with a request under way',
  { timeout: 480_000 },
  async (t) => {
    for (const { bytes, name, ratio } of await heldCosts(200)) {
      t.ok(ratio < bar, `${name}: ${(bytes / 1_024).toFixed(1)} KiB, ${ratio.toFixed(2)} of plain and what was sent`);
    }
  },
);
