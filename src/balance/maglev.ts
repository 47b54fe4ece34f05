import { xxHash64 } from '../lib/xxhash64.ts';
import type { HashedSet, HashTable } from './hash-table.ts';

/**
 * Maglev as Envoy builds it: a table of `size` lines, a prime number, into which the endpoints in the
 * order of their addresses take turns to write, each in an order of lines that its address gives. One
 * with half the weight of the heaviest has every second turn.
 */
export function createMaglev({ names, weights }: HashedSet, size: number): HashTable {
  const order = names.map((_, i) => i).sort((a, b) => ((names[a] as string) < (names[b] as string) ? -1 : 1));
  const heaviest = weights.reduce((max, weight) => Math.max(max, weight), 0);
  const count = order.length;
  const next = new Float64Array(count);
  const skips = new Float64Array(count);
  const targets = new Float64Array(count);
  const own = order.map((index) => weights[index] as number);
  order.forEach((index, i) => {
    const name = names[index] as string;
    next[i] = remainder(xxHash64(name), size);
    skips[i] = size === 1 ? 0 : remainder(xxHash64(name, 1), size - 1) + 1;
  });

  const table = new Int32Array(size).fill(-1);
  let written = 0;
  const write = (i: number): void => {
    let line = next[i] as number;
    const skip = skips[i] as number;
    while (table[line] !== -1) {
      line += skip;
      if (line >= size) line -= size;
    }
    table[line] = order[i] as number;
    line += skip;
    next[i] = line >= size ? line - size : line;
    targets[i] = (targets[i] as number) + heaviest;
    written++;
  };

  // The heaviest have a turn in every round; of the others it is known in which one they have the next.
  const always: number[] = [];
  const due = new Map<number, number[]>();
  own.forEach((weight, i) => {
    if (weight === heaviest) always.push(i);
    else later(due, 1, i);
  });
  for (let round = 1; written < size; round++) {
    const others = due.get(round);
    const turns = others === undefined ? always : [...always, ...others].sort((a, b) => a - b);
    due.delete(round);
    for (const i of turns) {
      if (written === size) break;
      const weight = own[i] as number;
      write(i);
      if (weight !== heaviest) later(due, nextRound(round, weight, targets[i] as number), i);
    }
  }

  return {
    size,
    find(high, low, attempt) {
      if (attempt === 0) return table[((high % size) * (wrap % size) + low) % size] as number;
      // Most bits change with an attempt: the exclusive or with its negative.
      const otherHigh = (high ^ 0xffff_ffff) >>> 0;
      const otherLow = (low ^ -attempt) >>> 0;
      return table[((otherHigh % size) * (wrap % size) + otherLow) % size] as number;
    },
  };
}

const wrap = 4_294_967_296;

/** Of a number of 64 bits; exact, since table sizes have at most 23 bits. */
function remainder({ high, low }: { readonly high: number; readonly low: number }, divisor: number): number {
  return ((high % divisor) * (wrap % divisor) + low) % divisor;
}

function later(due: Map<number, number[]>, round: number, i: number): void {
  const list = due.get(round);
  if (list === undefined) due.set(round, [i]);
  else list.push(i);
}

/** The first round after this one in which `round * weight` reaches the target, compared as Envoy compares it. */
function nextRound(round: number, weight: number, target: number): number {
  let found = Math.max(round + 1, Math.ceil(target / weight));
  while (found > round + 1 && (found - 1) * weight >= target) found--;
  while (found * weight < target) found++;
  return found;
}
