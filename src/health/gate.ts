/** Lets a bounded number in at once; the others wait in line. */
export interface Gate {
  /** Calls `enter` now or later. Returns a function that gives the place in line up; it does nothing afterwards. */
  ask(enter: () => void): () => void;
  /** Each that was let in leaves once. */
  leave(): void;
}

export function createGate(places: number): Gate {
  let free = places;
  const waiting = new Set<{ readonly enter: () => void }>();
  return {
    ask(enter) {
      if (free > 0) {
        free--;
        enter();
        return () => {};
      }
      const place = { enter };
      waiting.add(place);
      return () => void waiting.delete(place);
    },
    leave() {
      const [next] = waiting;
      if (next === undefined) free++;
      else {
        waiting.delete(next);
        next.enter();
      }
    },
  };
}
