import { type Random, systemRandom } from '../lib/random.ts';
import { xxHash64 } from '../lib/xxhash64.ts';

/**
 * What bad tokens may cost: attempts of callers, each worth about as much processor time as one signature of
 * RSA with 2,048 bits, about 30 µs. They come back with time, and at once when a token turns out to be good.
 */
export interface Attempts {
  /**
   * Takes attempts of a caller: `wanted`, or fewer where that many are not there, but no fewer than `least`.
   * While those that others have taken may come back yet, it waits until it is known; never for time to pass.
   *
   * @returns how many were taken, of which {@link Attempts.settle} must be told; 0: there is not even `least`
   */
  take(caller: string, least: number, wanted: number): number | Promise<number>;
  /**
   * What they were taken for is over.
   *
   * @param taken what `take` said
   * @param back how many come back; with a good token more than were taken, if it has spent others before
   */
  settle(caller: string, taken: number, back: number): void;
}

/** Attempts that a caller has at once, and how many come back in a second. */
export const maxAttempts = 350;
export const attemptsPerSecond = 36;
/** Callers are spread over so many places by chance: together they never have more than this times the above. */
export const places = 64;

/** Of one place wait for others at most so many; more get nothing. */
const maxWaiting = 1_024;

interface Waiting {
  readonly least: number;
  readonly wanted: number;
  readonly resolve: (taken: number) => void;
}

interface Place {
  left: number;
  since: number;
  /** Taken by who has not been told yet whether the token is good. */
  running: number;
  readonly waiting: Waiting[];
}

/** @param now monotonic milliseconds */
export function createAttempts(now: () => number, random: Random = systemRandom): Attempts {
  // Nobody can say who shares a place with whom.
  const seed = Math.floor(random() * 2 ** 32);
  const all: readonly Place[] = Array.from({ length: places }, () => ({
    left: maxAttempts,
    since: now(),
    running: 0,
    waiting: [],
  }));
  const placeOf = (caller: string): Place => all[xxHash64(caller, seed).low % places] as Place;

  const give = (place: Place, back: number): void => {
    const at = now();
    const passed = Math.max(0, at - place.since);
    place.since = at;
    place.left = Math.min(maxAttempts, place.left + back + (passed / 1_000) * attemptsPerSecond);
  };
  /** Nothing: it is not known yet. */
  const takeNow = (place: Place, least: number, wanted: number): number | undefined => {
    const { left, running } = place;
    let taken = wanted;
    if (left < wanted) {
      if (running > 0 && left + running >= least) return undefined;
      taken = left < least ? 0 : Math.floor(left);
    }
    place.left -= taken;
    place.running += taken;
    return taken;
  };

  return {
    take(caller, least, wanted) {
      const place = placeOf(caller);
      give(place, 0);
      // Nobody goes before those that wait already.
      if (place.waiting.length === 0) {
        const taken = takeNow(place, least, wanted);
        if (taken !== undefined) return taken;
      } else if (place.left + place.running < least || place.waiting.length >= maxWaiting) return 0;
      return new Promise<number>((resolve) => void place.waiting.push({ least, wanted, resolve }));
    },
    settle(caller, taken, back) {
      const place = placeOf(caller);
      place.running -= taken;
      give(place, back);
      for (let next = place.waiting[0]; next !== undefined; next = place.waiting[0]) {
        const given = takeNow(place, next.least, next.wanted);
        if (given === undefined) return;
        place.waiting.shift();
        next.resolve(given);
      }
    },
  };
}
