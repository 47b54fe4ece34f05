import type { Clock } from '../lib/clock.ts';
import { outside } from '../lib/outside.ts';
import type { Random } from '../lib/random.ts';

/** What a DNS question brought. */
export interface DnsAnswer {
  readonly addresses: readonly string[];
  /** How long it is good for, milliseconds; absent where the system does not tell. */
  readonly ttlMs?: number;
}

/** Asks for the addresses of a name, once. Rejects, or answers without addresses, when there are none. */
export type AskName = (name: string) => Promise<DnsAnswer>;

/** A name whose addresses are kept up to date for as long as somebody watches. */
export interface WatchedName {
  /** The last good answer; empty before the first. Failures do not change it. */
  readonly addresses: readonly string[];
  /** Settles, never rejects, after the first answer or failure; absent afterwards. */
  readonly first: Promise<void> | undefined;
  /** Ends this watch. */
  release(): void;
}

/** Keeps names resolved for the whole process: each name is asked for once, whoever needs it. */
export interface NameResolver {
  /** `changed` is called after each answer that differs from the one before. */
  watch(name: string, changed: () => void): WatchedName;
  /** Ends all watches. */
  close(): void;
}

/** For answers that do not say how long they are good for. */
const defaultRefreshMs = 30_000;
/** A time to live of 0 forbids to keep the answer; a process that calls all the time keeps it this long. */
const zeroTtlRefreshMs = 5_000;
const minRefreshMs = 1_000;
const maxRefreshMs = 3_600_000;
/** After a failure: doubled with each further one. */
const firstRetryMs = 1_000;
const maxRetryMs = 30_000;
/** Questions under way at once; more wait. */
const maxQuestions = 16;

/**
 * Asks again when the time to live of an answer is over, after a failure with growing pauses
 * (negative caching: nobody asks in between), always with a jitter of ±10 %, so that processes that
 * started together do not ask together for ever. The last good answer outlives every failure.
 */
export function createNameResolver(options: {
  readonly ask: AskName;
  readonly clock: Clock;
  readonly random: Random;
  /** For answers that do not say how long they are good for; read for each. Default 30,000. */
  refreshMs?(): number | undefined;
}): NameResolver {
  const { ask, clock, random } = options;
  const names = new Map<string, Name>();
  const waiting: Name[] = [];
  let asking = 0;
  let closed = false;

  const enqueue = (name: Name): void => {
    if (asking < maxQuestions) void question(name);
    else waiting.push(name);
  };

  const question = async (name: Name): Promise<void> => {
    asking++;
    let answer: DnsAnswer | undefined;
    try {
      answer = await ask(name.name);
    } catch {
      // The last good answer stays.
    }
    asking--;
    const next = waiting.shift();
    if (next !== undefined) void question(next);
    if (closed || name.forgotten) {
      name.settle();
      return;
    }
    const good = answer !== undefined && answer.addresses.length > 0;
    name.failures = good ? 0 : name.failures + 1;
    const delayMs = good ? refreshMs((answer as DnsAnswer).ttlMs ?? options.refreshMs?.()) : retryMs(name.failures);
    name.cancel = clock.after(delayMs * (0.9 + 0.2 * random()), () => {
      enqueue(name);
    });
    name.take(good ? (answer as DnsAnswer).addresses : undefined);
  };

  const forget = (name: Name): void => {
    name.forgotten = true;
    name.cancel?.();
    names.delete(name.name);
    const queued = waiting.indexOf(name);
    if (queued !== -1) waiting.splice(queued, 1);
    name.settle();
  };

  return {
    watch(text, changed) {
      let name = names.get(text);
      if (name === undefined) {
        name = new Name(text);
        names.set(text, name);
        const asked = name;
        // It is asked for again and again, and not for the call that came first.
        outside(() => enqueue(asked));
      }
      return name.watch(changed, forget);
    },
    close() {
      closed = true;
      waiting.length = 0;
      for (const name of names.values()) forget(name);
    },
  };
}

function refreshMs(ttlMs: number | undefined): number {
  if (ttlMs === undefined) return defaultRefreshMs;
  if (ttlMs <= 0) return zeroTtlRefreshMs;
  return Math.min(Math.max(ttlMs, minRefreshMs), maxRefreshMs);
}

function retryMs(failures: number): number {
  return Math.min(firstRetryMs * 2 ** (failures - 1), maxRetryMs);
}

class Name {
  readonly name: string;
  readonly watchers = new Set<() => void>();
  addresses: readonly string[] = [];
  failures = 0;
  /** Nobody watches it any more. */
  forgotten = false;
  cancel: (() => void) | undefined;
  first: Promise<void> | undefined;
  #settle: (() => void) | undefined;

  constructor(name: string) {
    this.name = name;
    this.first = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  watch(changed: () => void, unwatched: (name: Name) => void): WatchedName {
    const name = this;
    // A watcher of its own, even if the same function watches twice.
    const watcher = (): void => changed();
    name.watchers.add(watcher);
    return {
      get addresses() {
        return name.addresses;
      },
      get first() {
        return name.first;
      },
      release() {
        if (name.watchers.delete(watcher) && name.watchers.size === 0) unwatched(name);
      },
    };
  }

  /** Takes an answer, or that there was none. */
  take(addresses: readonly string[] | undefined): void {
    const changed = addresses !== undefined && !sameMembers(addresses, this.addresses);
    if (changed) {
      this.addresses = addresses;
      for (const watcher of [...this.watchers]) watcher();
    }
    this.settle();
  }

  settle(): void {
    this.first = undefined;
    this.#settle?.();
  }
}

/** DNS servers rotate their answers: the order means nothing. */
function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  const members = new Set(a);
  return b.every((each) => members.has(each));
}
