import { seededRandom } from '../../src/lib/random.ts';
import { compare, type Pair } from '../bench/mirror/paired.ts';
import type { Lab, LabMesh } from './lab.ts';
import { load } from './load.ts';

/** Ways to make the same calls, which should take the same time. */
export interface Turns {
  /** What all others are compared with. */
  readonly base: LabMesh;
  readonly others: Readonly<Record<string, LabMesh>>;
  /** Calls in one turn. */
  readonly count: number;
  readonly rounds: number;
}

/** Rounds before those that count: code is compiled, connections are made. */
const warmUpRounds = 2;

/**
 * Makes calls by all ways in turns, in an order of chance, and compares the 99th percentile of each turn with that of the
 * base in the same round: what else the machine does is in all of them alike.
 *
 * @returns the calls that were made in each way
 */
export async function inTurns(lab: Lab, { base, count, others, rounds }: Turns): Promise<number> {
  const random = seededRandom(1);
  const ways = [['', base] as const, ...Object.entries(others)];
  const turns = new Map<string, (readonly number[])[]>(ways.map(([name]) => [name, []]));
  let failures = 0;
  for (let round = 0; round < rounds + warmUpRounds; round++) {
    const order = ways.map((way) => ({ way, at: random() })).sort((a, b) => a.at - b.at);
    for (const { way } of order) {
      const tally = await load(way[1], { count });
      failures += tally.failures;
      if (round >= warmUpRounds) turns.get(way[0])?.push(tally.latencies);
    }
  }
  lab.equal(`failures of ${ways.length * (rounds + warmUpRounds) * count} calls`, failures, 0);
  const plain = turns.get('') ?? [];
  for (const name of Object.keys(others)) {
    const pairs: readonly Pair[] = (turns.get(name) ?? []).map((on, i) => ({ on, off: plain[i] ?? [] }));
    const { from, off, on, ratio, to } = compare(pairs, 0.99, random);
    const interval = `95 %: ${from.toFixed(3)} to ${to.toFixed(3)}; ${on.toFixed(2)} ms, without ${off.toFixed(2)} ms`;
    lab.goal(`${name}: p99 over that without (${interval})`, ratio, 1.02, 20, 'x');
  }
  return (rounds + warmUpRounds) * count;
}
