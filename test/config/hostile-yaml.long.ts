import { Worker } from 'node:worker_threads';
import t from 'tap';
import { parseYaml } from '../../src/config/yaml.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { compileRegex, compileReplacement, subjectLimit } from '../../src/lib/regex.ts';
import { randomResource, randomText, tryText } from './grammar.ts';

/**
 * The goals are 100 ms for a document, 10 ms for a pattern; the comments say what was measured. What fails is what no busy
 * machine explains: without the limits these took seconds.
 */
const busy = 10;

/** Time of the processor that a piece of work takes, in milliseconds: the least of a few runs. */
function cost(work: () => void, runs = 5): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1_000);
  }
  return least;
}

const laughs = [
  'a: &a [x,x,x,x,x,x,x,x,x]',
  ...[...'bcdefghi'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`),
].join('\n');

const bombs: readonly (readonly [string, string])[] = [
  ['a billion laughs', laughs],
  ['1,000 aliases of a large value', `a: &a [${'x,'.repeat(9_000)}x]\nb: [${Array(999).fill('*a').join(',')}]`],
  ['a million lists', '['.repeat(1_000_000)],
  ['a million maps', '{a: '.repeat(1_000_000)],
  ['a million dashes', '- '.repeat(1_000_000)],
  ['a million keys', '? '.repeat(1_000_000)],
  ['a deep staircase', Array.from({ length: 2_000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
  ['half a million aliases', `a: &a x\nb: [${Array(500_000).fill('*a').join(',')}]`],
  ['bad escapes', `a: "${'\\q'.repeat(1_000_000)}"`],
  ['tags', `a: [${'!!js 1, '.repeat(400_000)}]`],
  ['anchors', `a: [${'&a 1, '.repeat(400_000)}]`],
];

t.test('CFG-001 CFG-002 CFG-003 bombs cost some 50 ms, and a process with little memory survives them', async (t) => {
  for (const [what, text] of bombs) {
    t.ok(parseYaml(text).problems.length > 0, what);
    const ms = cost(() => void parseYaml(text));
    t.comment(`${what}: ${text.length} bytes, ${ms.toFixed(1)} ms`);
    t.ok(ms < 100 * busy, `${what}: ${ms} ms`);
  }
  const code = `
    import { parentPort, workerData } from 'node:worker_threads';
    const { parseYaml } = await import(workerData.module);
    parentPort.postMessage(workerData.texts.map((text) => parseYaml(text).problems.length));`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
    workerData: {
      module: new URL('../../src/config/yaml.ts', import.meta.url).href,
      texts: bombs.map(([, text]) => text),
    },
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 },
  });
  const counts = await new Promise<readonly number[]>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  t.equal(counts.length, bombs.length);
  await worker.terminate();
});

t.test('RE-009 any pattern that is accepted takes some milliseconds for any text', async (t) => {
  const random = seededRandom(9);
  const made = (length: number, alphabet: string): string =>
    Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
  const families: readonly ((n: number) => string)[] = [
    (n) => `(a{0,${n}}){0,10}x`,
    (n) => `.*[ab].{${n}}`,
    (n) => `.*a.{${n}}x`,
    (n) => `(?:a?){${n}}x`,
    (n) => `([a-z]{0,10}){0,${n}}x`,
    (n) => `(?i)(\\pL{0,10}){0,${n}}x`,
    (n) => `(.*a.{0,${n}}){3}x`,
    (n) => `(\\w{0,3}\\b){0,${n}}x`,
    (n) => `(.?){${n}}`,
    (n) => `(a|b|ab|ba|aab){0,${n}}x`,
    (n) => `.*(a.{${n}}|b.{${n}})`,
    (n) => `((a*)*b?){${n}}x`,
    (n) => `(${Array.from({ length: n }, (_, i) => `.*a.{${i % 9}}`).join('|')})x`,
  ];
  let worst = { ms: 0, what: '' };
  let accepted = 0;
  for (const family of families) {
    for (const n of [3, 9, 20, 45, 90, 200, 450, 900]) {
      const pattern = family(n);
      let limit: number;
      try {
        limit = subjectLimit(pattern);
      } catch {
        continue;
      }
      accepted++;
      for (const text of ['a'.repeat(limit), made(limit, 'ab'), made(limit, 'abé'), made(limit, 'ab 1-')]) {
        // Compiled anew each time: what a pattern remembers of earlier texts helps it.
        for (const work of [compileRegex, (each: string) => compileReplacement(each, 'y')]) {
          const ready = [1, 2, 3].map(() => work(pattern));
          const ms = cost(() => void ready.pop()?.(text), 3);
          if (ms > worst.ms) worst = { ms, what: `${pattern} with ${limit} characters` };
        }
      }
    }
  }
  t.comment(`${accepted} patterns, worst ${worst.ms.toFixed(1)} ms: ${worst.what}`);
  t.ok(accepted > 40);
  t.ok(worst.ms < 10 * busy, `${worst.ms} ms: ${worst.what}`);
});

/** `INMESH_FUZZ_DOCUMENTS=1000000` makes it the 1_000_000 of the catalogue: half an hour. Another `INMESH_FUZZ_SEED` makes others. */
const documents = Number(process.env['INMESH_FUZZ_DOCUMENTS'] ?? 10_000);
const seed = Number(process.env['INMESH_FUZZ_SEED'] ?? 24);

t.test(`CFG-024 ${documents} documents by the grammar of every kind`, { timeout: 0 }, async (t) => {
  const random = seededRandom(seed);
  const pick = (below: number): number => Math.floor(random() * below);
  let accepted = 0;
  let slowest = { ms: 0, text: '' };
  for (let i = 0; i < documents; i++) {
    const text = randomText(randomResource(pick), pick);
    const began = performance.now();
    const verdict = tryText(text);
    const ms = performance.now() - began;
    if (verdict.wrong !== undefined) t.fail(`${verdict.wrong}:\n${text}`);
    if (verdict.accepted) accepted++;
    if (ms <= Math.max(slowest.ms, 5)) continue;
    // It may have been the machine: the processor's time counts, of several runs.
    const least = cost(() => void tryText(text), 3);
    if (least > slowest.ms) slowest = { ms: least, text };
  }
  t.comment(`seed ${seed}: ${documents} documents, ${accepted} accepted; the slowest took ${slowest.ms.toFixed(1)} ms`);
  t.ok(slowest.ms < 50, `${slowest.ms} ms:\n${slowest.text}`);
});
