import type { Clock } from './clock.ts';

/** Something that may run out of time. */
export interface DeadlineOwner {
  /**
   * Called once, unless the deadline was cancelled before. `lateMs`: how long ago the time was over;
   * more than {@link stallMs} when the process was busy with something else at that time.
   */
  deadlineExpired(lateMs: number): void;
}

/** A deadline that is noticed later than this says more about this process than about anybody else. */
export const stallMs = 100;

/** A running deadline. `cancel` is cheap, idempotent, and what nearly every call does. */
export interface Deadline {
  cancel(): void;
}

/**
 * Deadlines of one and the same length. They expire in the order in which they began, so a linked
 * list and one timer for its head are enough: starting and cancelling cost about 10 ns, where a
 * timer or an `AbortSignal` for each call costs up to 11 µs.
 */
export interface DeadlineClass {
  start(owner: DeadlineOwner): Deadline;
}

/** The classes of one owner. */
export interface Deadlines {
  /** One {@link DeadlineClass} for each length that is in use. */
  (timeoutMs: number): DeadlineClass;
  /** Stops the timers that nobody waits for any more; for whoever closes. */
  rest(): void;
}

/** Lengths that have a class. Applications may take a new one for each request: those have timers of their own. */
const mostClasses = 256;

export function createDeadlines(clock: Clock): Deadlines {
  const classes = new Map<number, RestingClass>();
  const of = (timeoutMs: number): DeadlineClass => {
    let found = classes.get(timeoutMs);
    if (found === undefined) {
      if (classes.size >= mostClasses) return singleDeadlines(clock, timeoutMs);
      found = deadlineClass(clock, timeoutMs);
      classes.set(timeoutMs, found);
    }
    return found;
  };
  const rest = (): void => {
    for (const each of classes.values()) each.rest();
  };
  return Object.assign(of, { rest });
}

/** Each with a timer, which ends with it. */
function singleDeadlines(clock: Clock, timeoutMs: number): DeadlineClass {
  return {
    start(owner) {
      const expiresAt = clock.now() + timeoutMs;
      let running = true;
      const expire = (): void => {
        if (!running) return;
        running = false;
        owner.deadlineExpired(clock.now() - expiresAt);
      };
      const stop = clock.after(timeoutMs, () => clock.afterIo(expire));
      return {
        cancel() {
          running = false;
          stop();
        },
      };
    },
  };
}

interface RestingClass extends DeadlineClass {
  rest(): void;
}

class Entry implements Deadline {
  owner: DeadlineOwner | undefined;
  readonly expiresAt: number;
  previous: Entry | undefined;
  next: Entry | undefined;
  readonly #list: List;

  constructor(list: List, owner: DeadlineOwner | undefined, expiresAt: number) {
    this.#list = list;
    this.owner = owner;
    this.expiresAt = expiresAt;
  }

  cancel(): void {
    if (this.owner === undefined) return;
    this.owner = undefined;
    this.#list.unlink(this);
  }
}

interface List {
  unlink(entry: Entry): void;
}

function deadlineClass(clock: Clock, timeoutMs: number): RestingClass {
  let head: Entry | undefined;
  let tail: Entry | undefined;
  let armed = false;
  let disarm = (): void => {};

  const list: List = {
    unlink(entry) {
      if (entry.previous === undefined) head = entry.next;
      else entry.previous.next = entry.next;
      if (entry.next === undefined) tail = entry.previous;
      else entry.next.previous = entry.previous;
      entry.previous = undefined;
      entry.next = undefined;
    },
  };

  // The timer is left running when its deadline is cancelled and looks again when it fires: a call
  // that ends in time must not pay for stopping a timer.
  const arm = (delayMs: number): void => {
    armed = true;
    disarm = clock.after(Math.max(1, delayMs), () => {
      // Answers that have arrived but were not read yet, because the process was busy, count as
      // in time: let one turn of the event loop deliver them first.
      clock.afterIo(expire);
    });
  };

  const expire = (): void => {
    armed = false;
    const now = clock.now();
    while (head !== undefined && head.expiresAt <= now) {
      const { expiresAt, owner } = head;
      head.cancel();
      owner?.deadlineExpired(now - expiresAt);
    }
    if (head !== undefined && !armed) arm(head.expiresAt - now);
  };

  return {
    start(owner) {
      const entry = new Entry(list, owner, clock.now() + timeoutMs);
      if (tail === undefined) head = entry;
      else {
        tail.next = entry;
        entry.previous = tail;
      }
      tail = entry;
      if (!armed) arm(timeoutMs);
      return entry;
    },
    rest() {
      if (head !== undefined) return;
      disarm();
      armed = false;
    },
  };
}
