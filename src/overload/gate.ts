import type { ConcurrencyPolicy } from '../model/overload.ts';
import { urgencies } from './shedder.ts';
import { WaitingLine } from './waiting-line.ts';

/** Something that wants a place. */
export interface Guest {
  /** Whose place it is: a SPIFFE ID, or '' for everybody who has none. */
  readonly caller: string;
  /** 0 (most urgent) to 7. */
  readonly urgency: number;
  /** It waited, and has a place now. */
  admitted(): void;
  /** It waited, and somebody more urgent came. */
  displaced(): void;
}

/** `share`: its caller has as much as one may have. `full`: there is no place, neither to wait. */
export type Entrance = 'admitted' | 'waiting' | 'full' | 'share';

/**
 * Places for so many requests at once, and for some that wait: more urgent ones first, then in the
 * order in which they came. Nobody has more than its share of all places, waiting ones included.
 */
export class Gate {
  #policy: ConcurrencyPolicy;
  #active: number;
  #waiting: number;
  readonly #queues: readonly WaitingLine<Guest>[];
  readonly #byCaller: Map<string, number>;

  constructor(policy: ConcurrencyPolicy) {
    this.#policy = policy;
    this.#active = 0;
    this.#waiting = 0;
    this.#queues = Array.from({ length: urgencies }, () => new WaitingLine<Guest>());
    this.#byCaller = new Map();
  }

  get active(): number {
    return this.#active;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** `limit`: how many places there are at this moment. Who has entered or waits must {@link leave}. */
  enter(guest: Guest, limit: number): Entrance {
    const { maxQueue, maxSharePercent } = this.#policy;
    const { caller, urgency } = guest;
    if (maxSharePercent < 100 && this.#held(caller) >= Math.max(1, Math.floor((limit * maxSharePercent) / 100))) {
      return 'share';
    }
    if (this.#active < limit && this.#waiting === 0) {
      this.#active++;
      this.#hold(caller, 1);
      return 'admitted';
    }
    if (this.#waiting >= maxQueue && !this.#displaceFor(urgency)) return 'full';
    this.#queues[urgency]?.add(guest);
    this.#waiting++;
    this.#hold(caller, 1);
    return 'waiting';
  }

  /** A guest that was admitted has gone; those who wait move up. */
  leave(guest: Guest, limit: number): void {
    this.#active--;
    this.#hold(guest.caller, -1);
    this.moveUp(limit);
  }

  /** A guest that waits has given up. False when it was not waiting (any more). */
  giveUp(guest: Guest): boolean {
    if (this.#queues[guest.urgency]?.remove(guest) !== true) return false;
    this.#waiting--;
    this.#hold(guest.caller, -1);
    return true;
  }

  moveUp(limit: number): void {
    while (this.#waiting > 0 && this.#active < limit) {
      for (const queue of this.#queues) {
        const { first } = queue;
        if (first === undefined) continue;
        queue.remove(first);
        this.#waiting--;
        this.#active++;
        first.admitted();
        break;
      }
    }
  }

  adopt(policy: ConcurrencyPolicy): void {
    this.#policy = policy;
  }

  #displaceFor(urgency: number): boolean {
    if (this.#policy.maxQueue === 0) return false;
    for (let other = urgencies - 1; other > urgency; other--) {
      const last = this.#queues[other]?.last;
      if (last === undefined) continue;
      this.giveUp(last);
      last.displaced();
      return true;
    }
    return false;
  }

  #held(caller: string): number {
    return this.#byCaller.get(caller) ?? 0;
  }

  /** The map has callers with requests under way, and no others. */
  #hold(caller: string, change: number): void {
    const held = this.#held(caller) + change;
    if (held === 0) this.#byCaller.delete(caller);
    else this.#byCaller.set(caller, held);
  }
}
