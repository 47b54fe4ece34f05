import type { Random } from '../lib/random.ts';
import type { Candidate } from './candidate.ts';

/** One that waits for its turn. */
interface Turn<E> {
  readonly endpoint: E;
  /** On a clock of picks, not of time. */
  due: number;
}

/**
 * Earliest deadline first, as Envoy schedules endpoints of different weights: each comes round every
 * 1/weight, so that a weight of 2 gets exactly every second pick of three, evenly spaced. `weightOf`
 * is asked each time an endpoint was picked, for its next turn: a weight that follows the load or
 * the time takes effect then. A binary heap keeps a pick at O(log n).
 */
export function earliestDeadlineFirst<E extends Candidate>(
  all: readonly E[],
  random: Random,
  weightOf: (endpoint: E) => number,
): () => E {
  // Starting anywhere in its first turn keeps a thousand clients that start together from one endpoint.
  const heap: Turn<E>[] = all.map((endpoint) => ({ endpoint, due: random() / weightOf(endpoint) }));
  for (let at = (heap.length >> 1) - 1; at >= 0; at--) sink(heap, at);
  return () => {
    const top = heap[0] as Turn<E>;
    top.due += 1 / weightOf(top.endpoint);
    sink(heap, 0);
    return top.endpoint;
  };
}

/** Moves one down to its place in a heap: below those that are due earlier. */
function sink<E>(heap: Turn<E>[], from: number): void {
  const turn = heap[from] as Turn<E>;
  let at = from;
  for (;;) {
    let child = 2 * at + 1;
    const right = heap[child + 1];
    if (right !== undefined && right.due < (heap[child] as Turn<E>).due) child++;
    const smaller = heap[child];
    if (smaller === undefined || smaller.due >= turn.due) break;
    heap[at] = smaller;
    at = child;
  }
  heap[at] = turn;
}
