/** What answers a call: the inside of a pipeline, or the whole of it. */
export type Service<C, R> = (call: C) => Promise<R>;

/**
 * One step of a pipeline. It may answer itself, change the call, look at the reply, or call `next`
 * again (retry). The first filter in a list is the outermost.
 */
export type Filter<C, R> = (call: C, next: Service<C, R>) => Promise<R>;

/**
 * Turns an ordered list of filters and a terminal into one service. Done once when a snapshot is
 * reconciled, never per call: a feature that is off is not in the list and costs nothing.
 */
export function compose<C, R>(filters: readonly Filter<C, R>[], terminal: Service<C, R>): Service<C, R> {
  let service = terminal;
  for (let i = filters.length - 1; i >= 0; i--) {
    const filter = filters[i] as Filter<C, R>;
    const next = service;
    service = (call) => filter(call, next);
  }
  return service;
}
