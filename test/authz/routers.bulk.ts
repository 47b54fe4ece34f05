import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { alphabet, countOf, hostile, stringAt } from '../support/paths/alphabet.ts';
import { findBypasses } from '../support/paths/bypasses.ts';
import { guards } from '../support/paths/guards.ts';
import { routersUnderTest } from '../support/paths/routers.ts';

/**
 * A part of `routers.long.ts`: all targets of up to three tokens, and samples of longer ones.
 * What policy lets through must not arrive at a handler that it guards.
 */
const routers = await routersUnderTest();
t.teardown(() => Promise.all(routers.map(({ close }) => close())));

function* short(): Generator<string> {
  for (let i = 0; i < countOf(3); i++) yield `/${stringAt(i)}`;
}

function* sampled(count: number, seed: number): Generator<string> {
  const random = seededRandom(seed);
  const from = countOf(3);
  const size = countOf(5) - from;
  for (let i = 0; i < count; i++) yield `/${stringAt(from + Math.floor(random() * size))}`;
}

t.test('the alphabet makes 579,194 strings of one to five tokens', async (t) => {
  t.equal(alphabet.length, 14);
  t.equal(countOf(5), 579_194);
  // Two single dots are a double one.
  t.ok(new Set(short()).size > 2_800);
  t.equal(stringAt(0), '/');
  t.equal(stringAt(countOf(5) - 1), 'publicpublicpublicpublicpublic');
});

t.test('no target of up to three tokens gets past policy to a handler that it guards', async (t) => {
  const { bypasses, asked, guarded } = await findBypasses(short(), routers, guards());
  t.same(bypasses, []);
  t.ok(asked > 2_000, `${asked} requests`);
  t.ok(guarded > 20_000, `${guarded} times a policy stopped what would have reached a handler`);
});

t.test('nor does any of a sample of longer ones', async (t) => {
  const { bypasses, guarded } = await findBypasses(sampled(3_000, 1), routers, guards());
  t.same(bypasses, []);
  t.ok(guarded > 3_000);
});

t.test('nor of targets from a wider alphabet: other escapes, bytes beyond ASCII, hosts, parameters', async (t) => {
  const words = fc.array(fc.constantFrom(...alphabet, ...hostile), { minLength: 1, maxLength: 10 });
  const targets = fc.sample(words, { seed: 1, numRuns: 4_000 }).map((tokens) => `/${tokens.join('')}`);
  const { bypasses, refused, guarded } = await findBypasses(targets, routers, guards());
  t.same(bypasses, []);
  t.ok(refused > 1_000);
  t.ok(guarded > 1_000);
});

t.test('the same policies, read as in Istio, are passed by hundreds of them', async (t) => {
  const { bypasses } = await findBypasses(short(), routers, guards('literal'));
  t.ok(bypasses.length > 500, `${bypasses.length}`);
  for (const [target, handler] of [
    ['/ADMIN', 'Express 4 (BASE): admin'],
    ['/ADMIN', 'Express 5 (BASE): admin'],
    ['/admin/', 'Express 5 (BASE): admin'],
    ['/admin;', 'Fastify 5, all options loose (BASE): admin'],
    ['/%61dmin', 'Fastify 5 (NONE): admin'],
    ['//admin', 'Fastify 5, all options loose (BASE): admin'],
  ] as const) {
    const found = bypasses.some((line) => line.startsWith(JSON.stringify(target)) && line.includes(handler));
    t.ok(found, `${target} reaches ${handler}`);
  }
});
