/** Keeps values for a while after their owner is gone. Bounded: the oldest make room. No timers. */
export interface ShortMemory<V> {
  /** Remembers `value` from now on. */
  keep(key: string, value: V): void;
  /** Takes a value out, if it is there and not too old. */
  take(key: string): V | undefined;
  readonly size: number;
}

/** @param now monotonic milliseconds. */
export function createShortMemory<V>(options: {
  readonly now: () => number;
  readonly lifeMs: number;
  readonly maxEntries: number;
}): ShortMemory<V> {
  const { now, lifeMs, maxEntries } = options;
  // In the order in which they were kept, which is that of their ends.
  const entries = new Map<string, { readonly value: V; readonly until: number }>();

  const forget = (): void => {
    const time = now();
    for (const [key, { until }] of entries) {
      if (until >= time && entries.size <= maxEntries) return;
      entries.delete(key);
    }
  };

  return {
    keep(key, value) {
      entries.delete(key);
      entries.set(key, { value, until: now() + lifeMs });
      forget();
    },
    take(key) {
      const found = entries.get(key);
      if (found === undefined) return undefined;
      entries.delete(key);
      return found.until >= now() ? found.value : undefined;
    },
    get size() {
      return entries.size;
    },
  };
}
