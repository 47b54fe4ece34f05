/** What happens when, as numbers: the earliest comes first, of those at one moment the one that was added first. */
export interface EventQueue {
  readonly size: number;
  add(at: number, what: number): void;
  /** Time of the earliest; infinite when there is none. */
  next(): number;
  /** Removes the earliest and says what it is. */
  take(): number;
}

/** A binary heap over typed arrays: an event costs no object. */
export function createEventQueue(): EventQueue {
  let times = new Float64Array(1_024);
  let orders = new Float64Array(1_024);
  let events = new Int32Array(1_024);
  let size = 0;
  let added = 0;

  const isBefore = (a: number, b: number): boolean =>
    (times[a] as number) < (times[b] as number) ||
    (times[a] === times[b] && (orders[a] as number) < (orders[b] as number));
  const swap = (a: number, b: number): void => {
    const [time, order, event] = [times[a] as number, orders[a] as number, events[a] as number];
    times[a] = times[b] as number;
    orders[a] = orders[b] as number;
    events[a] = events[b] as number;
    times[b] = time;
    orders[b] = order;
    events[b] = event;
  };
  const grow = (): void => {
    const [oldTimes, oldOrders, oldEvents] = [times, orders, events];
    times = new Float64Array(size * 2);
    orders = new Float64Array(size * 2);
    events = new Int32Array(size * 2);
    times.set(oldTimes);
    orders.set(oldOrders);
    events.set(oldEvents);
  };

  return {
    get size() {
      return size;
    },
    add(at, what) {
      if (size === times.length) grow();
      let place = size++;
      times[place] = at;
      orders[place] = added++;
      events[place] = what;
      while (place > 0) {
        const parent = (place - 1) >> 1;
        if (!isBefore(place, parent)) break;
        swap(place, parent);
        place = parent;
      }
    },
    next: () => (size === 0 ? Number.POSITIVE_INFINITY : (times[0] as number)),
    take() {
      const event = events[0] as number;
      size--;
      if (size === 0) return event;
      swap(0, size);
      let place = 0;
      for (;;) {
        let child = 2 * place + 1;
        if (child >= size) break;
        if (child + 1 < size && isBefore(child + 1, child)) child++;
        if (!isBefore(child, place)) break;
        swap(place, child);
        place = child;
      }
      return event;
    },
  };
}
