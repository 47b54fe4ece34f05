interface Place<T> {
  readonly guest: T;
  previous: Place<T> | undefined;
  next: Place<T> | undefined;
}

/** Those who wait, in the order in which they came. Joining, leaving and both ends cost the same at any length. */
export class WaitingLine<T extends object> {
  readonly #places: Map<T, Place<T>>;
  #head: Place<T> | undefined;
  #tail: Place<T> | undefined;

  constructor() {
    this.#places = new Map();
    this.#head = undefined;
    this.#tail = undefined;
  }

  get first(): T | undefined {
    return this.#head?.guest;
  }

  get last(): T | undefined {
    return this.#tail?.guest;
  }

  add(guest: T): void {
    const place: Place<T> = { guest, previous: this.#tail, next: undefined };
    if (this.#tail === undefined) this.#head = place;
    else this.#tail.next = place;
    this.#tail = place;
    this.#places.set(guest, place);
  }

  /** False for somebody who does not wait here. */
  remove(guest: T): boolean {
    const place = this.#places.get(guest);
    if (place === undefined) return false;
    this.#places.delete(guest);
    const { next, previous } = place;
    if (previous === undefined) this.#head = next;
    else previous.next = next;
    if (next === undefined) this.#tail = previous;
    else next.previous = previous;
    return true;
  }
}
