/** Above this many changes they are put into a base of their own. */
const maxChanges = 1_000;

/**
 * A large map that changes little: a copy shares the map and copies only what has changed, and
 * whoever holds the one that it was made from sees nothing of its changes.
 */
export class Layered<K, V extends NonNullable<unknown>> implements ReadonlyMap<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  readonly #changes: Map<K, V | undefined>;
  #size: number;

  private constructor(base: ReadonlyMap<K, V>, changes: Map<K, V | undefined>, size: number) {
    this.#base = base;
    this.#changes = changes;
    this.#size = size;
  }

  /** A copy of `map`, which must stay as it is. */
  static of<K, V extends NonNullable<unknown>>(map: ReadonlyMap<K, V>): Layered<K, V> {
    return map instanceof Layered ? map.#copy() : new Layered(map, new Map(), map.size);
  }

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    // Nothing in it is undefined: what was taken away is found, as what it is.
    return this.#changes.get(key) ?? (this.#changes.has(key) ? undefined : this.#base.get(key));
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  /** `undefined` takes the key away. */
  set(key: K, value: V | undefined): void {
    this.#size += (value === undefined ? 0 : 1) - (this.has(key) ? 1 : 0);
    this.#changes.set(key, value);
  }

  *entries(): MapIterator<[K, V]> {
    for (const [key, before] of this.#base) {
      const value = this.#changes.has(key) ? this.#changes.get(key) : before;
      if (value !== undefined) yield [key, value];
    }
    for (const [key, value] of this.#changes) {
      if (value !== undefined && !this.#base.has(key)) yield [key, value];
    }
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(action: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) action(value, key, this);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  #copy(): Layered<K, V> {
    if (this.#changes.size <= maxChanges) return new Layered(this.#base, new Map(this.#changes), this.#size);
    return new Layered(new Map(this), new Map(), this.#size);
  }
}
