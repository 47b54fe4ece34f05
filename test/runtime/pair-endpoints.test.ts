import fc from 'fast-check';
import t from 'tap';
import type { Endpoint } from '../../src/model/cluster.ts';
import { endpointKey } from '../../src/runtime/endpoint.ts';
import { pairEndpoints } from '../../src/runtime/pair-endpoints.ts';
import { endpoint } from '../support/snapshot.ts';

/** One letter, one address; states are numbered. */
const at = (letter: string): Endpoint => endpoint(80, { address: letter });
const states = (text: string) =>
  [...text].map((letter, number) => ({ name: endpointKey(at(letter)), endpoint: at(letter), number }));
const pair = (before: string, next: string): string => {
  const { known, gone } = pairEndpoints(states(before), [...next].map(at));
  const numbers = gone.map(({ number }) => number).sort();
  return `${Array.from(known, (state) => state?.number ?? '-').join('')} ${numbers.join('')}`.trim();
};

t.test('endpoints keep what is known of them, wherever they are in the list', async (t) => {
  for (const [before, next, expected] of [
    ['', '', ''],
    ['', 'ab', '--'],
    ['ab', '', '01'],
    ['abc', 'abc', '012'],
    ['abc', 'cab', '201'],
    ['abc', 'axc', '0-2 1'],
    ['abc', 'abxc', '01-2'],
    ['abc', 'ac', '02 1'],
    ['abc', 'xyz', '--- 012'],
    ['abcd', 'dbca', '3120'],
    ['a', 'aa', '0-'],
    ['aa', 'a', '0 1'],
    ['aa', 'aa', '01'],
    ['aba', 'aab', '021'],
    ['ab', 'ba', '10'],
  ] as const) {
    t.equal(pair(before, next), expected, `${before} → ${next}`);
  }
});

t.test('the port counts as well as the address', async (t) => {
  const [known] = [{ name: 'a:80', endpoint: at('a') }];
  t.same(pairEndpoints([known], [endpoint(81, { address: 'a' })]), { known: [undefined], gone: [known] });
});

t.test('whatever changes, each state is used once or gone, and used for its own address', async () => {
  const list = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 8 });
  fc.assert(
    fc.property(list, list, (before, next) => {
      const all = states(before.join(''));
      const { known, gone } = pairEndpoints(all, next.map(at));
      const used = known.filter((state) => state !== undefined);
      const right = Array.from(known).every((state, i) => state === undefined || state.endpoint.address === next[i]);
      // Nobody is new while there is a state for its address.
      const wasted = gone.some(({ endpoint: { address } }) =>
        next.some((one, i) => one === address && known[i] === undefined),
      );
      return (
        right && !wasted && new Set([...used, ...gone]).size === all.length && used.length + gone.length === all.length
      );
    }),
  );
});
