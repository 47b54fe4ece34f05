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
  heap.sort((a, b) => a.due - b.due);
  return () => {
    const top = heap[0] as Turn<E>;
    top.due += 1 / weightOf(top.endpoint);
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const right = heap[child + 1];
      if (right !== undefined && right.due < (heap[child] as Turn<E>).due) child++;
      const smaller = heap[child];
      if (smaller === undefined || smaller.due >= top.due) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = top;
    return top.endpoint;
  };
}
