import { readFileSync } from 'node:fs';
import t from 'tap';
import { root } from '../../support/source-files.ts';
import { type Attack, type Expected, readDemanded, readFixture } from './catalogue.ts';
import { check } from './check.ts';
import { layers } from './layers.ts';
import { grpcWays, meshWays } from './ways.ts';

t.test('no fixture expects less than is demanded of its id, but for a reason', async (t) => {
  const { amounts, demanded, otherwise } = readDemanded();
  const fixtures = ['cfg', 're', 'full', ...layers.map(({ name }) => name)].map(readFixture);
  const all = Map.groupBy(
    fixtures.flatMap(({ cases = [] }) => cases),
    ({ id }) => id,
  );
  const elsewhere = new Map(fixtures.flatMap((fixture) => Object.entries(fixture.elsewhere ?? {})));
  const meets = ({ decision, status }: Expected, [wanted, code]: readonly string[]): boolean =>
    decision === wanted && (code === undefined || status === Number(code));
  // A stream that is reset is a request that is refused, in the words of HTTP/2.
  const isRefusal = (words: readonly string[], { decision }: Expected): boolean =>
    words[0] !== 'allow' && decision === 'reset';
  const falls = ({ expected, instead = {} }: Attack, words: readonly string[]): boolean =>
    meets(expected, words) && Object.values(instead).every((each) => meets(each, words) || isRefusal(words, each));
  for (const [id, text] of Object.entries(demanded)) {
    const words = text.split(' ');
    const amount = amounts[id];
    const cases = all.get(id);
    if (cases === undefined) {
      const file = elsewhere.get(id)?.split(',')[0] ?? '';
      const source = file === '' ? '' : readFileSync(`${root}${file}`, 'utf8');
      t.ok(source.includes(id), `${id} is run by ${file}`);
      const written = amount?.toString().replace(/\B(?=(\d{3})+$)/g, '_') ?? '';
      t.ok(source.includes(written), `${id} is run ${written} times`);
      continue;
    }
    t.ok(cases.some((each) => falls(each, words)) || otherwise[id] !== undefined, `${id}: ${text}`);
    if (amount !== undefined)
      t.ok(
        cases.some(({ input }) => input['n'] === amount),
        `${id} is run with ${amount}`,
      );
  }
  t.equal(Object.keys(demanded).length, 266);
  for (const [id, why] of Object.entries(otherwise)) t.ok(Object.hasOwn(demanded, id) && why.length > 40, id);
});

/**
 * Requests of people with bad intentions, with the decision that must be taken: each is written to
 * a socket byte by byte, and the policies are compiled from YAML, as in production. Cases:
 * `test/fixtures/attacks`; the matrix: `npm run attacks`.
 */
t.test('the catalogue of attacks on mesh.listen', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  await check(t, light, meshWays, 235);
});

t.test('the catalogue of attacks, as calls of gRPC', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  await check(t, light, grpcWays, 520);
});
