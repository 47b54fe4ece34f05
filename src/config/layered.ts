/** Above this many changes they are put into a base of their own. */
const maxChanges = 1_000;

/**
 * Look-ups of a large map that changes little: a copy shares the map and copies only what has changed,
 * and whoever holds the one that it was made from sees nothing of its changes.
 */
export class Layered<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  readonly #changes: Map<K, V | undefined>;

  /** `base` must stay as it is. */
  constructor(base: ReadonlyMap<K, V>, changes: Map<K, V | undefined> = new Map()) {
    this.#base = base;
    this.#changes = changes;
  }

  get(key: K): V | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key);
  }

  /** `undefined` takes the key away. */
  set(key: K, value: V | undefined): void {
    this.#changes.set(key, value);
  }

  copy(): Layered<K, V> {
    if (this.#changes.size <= maxChanges) return new Layered(this.#base, new Map(this.#changes));
    const all = new Map(this.#base);
    for (const [key, value] of this.#changes) {
      if (value === undefined) all.delete(key);
      else all.set(key, value);
    }
    return new Layered(all);
  }
}
