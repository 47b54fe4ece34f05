const empty: readonly never[] = [];

/**
 * A new list that V8 always puts where objects are young. An array literal remembers how long its
 * arrays live; after a busy moment V8 may decide that they live long and put all later ones among
 * the old objects, where a dead list keeps what it refers to alive until the next full collection.
 * For the lists that every call makes.
 */
export function youngList<T>(): T[] {
  return empty.slice();
}
