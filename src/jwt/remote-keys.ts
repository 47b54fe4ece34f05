import type { Clock } from '../lib/clock.ts';
import { type ParsedJwks, parseJwks, type VerificationKey } from '../lib/jwks.ts';
import { outside } from '../lib/outside.ts';
import type { Random } from '../lib/random.ts';
import { type KeySet, type KeySource, keySetOf, type RefreshReason } from './keys.ts';

/** The text of a key set, and how long its issuer says that it may be kept. */
export interface LoadedKeys {
  readonly text: string;
  readonly maxAgeMs?: number;
}

/** Gets the key set from where it is. Rejects within a bounded time, with words that quote nothing of it. */
export type LoadKeys = (signal: AbortSignal) => Promise<LoadedKeys>;

/** What is known of the keys of one address. */
export interface RemoteKeysStatus {
  /** Keys in force that can verify signatures. */
  readonly keys: number;
  /** Why further keys of the set verify nothing: `key 2: its use is not sig`. */
  readonly ignored?: readonly string[];
  /** Counts the sets that differ, from 1; 0: there was none. */
  readonly generation: number;
  /** Fetches so far, and those of them that failed. Only grow. */
  readonly fetches: number;
  readonly failures: number;
  /** When they were last got, milliseconds since the epoch. */
  readonly fetchedAt?: number;
  /** Why they could not be got the last time. The keys that there were stay in force. */
  readonly problem?: string;
  /** When they are asked for again, milliseconds since the epoch. */
  readonly nextFetchAt?: number;
}

export interface RemoteKeysOptions {
  readonly load: LoadKeys;
  /** Longest time between two fetches, milliseconds: that long a key that is gone may still verify. */
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Told when the keys have changed, when they cannot be got any more, and when they can again. */
  changed(status: RemoteKeysStatus): void;
  /** Told of each attempt that fails. */
  failed(problem: string): void;
}

/** Time between two fetches that tokens cause by naming a key that is not there; jose's default. */
export const coolDownMs = 30_000;

/** Keys that could not be renewed for this long verify nothing any more, as in Istio. */
export const maxKeptMs: number = 7 * 24 * 3_600_000;

const firstRetryMs = 1_000;
const maxRetryMs = 60_000;
/** However short an issuer lets its keys be kept. */
const minRefreshMs = 60_000;
/** Requests that wait for one fetch; who comes later gets what there is. */
const maxWaiting = 1_000;

/**
 * Keys that are fetched, again and again in the background. While that fails the last good ones stay
 * in force; before the first ones there are none, and nothing is accepted. A set without a usable
 * key is a good one: the issuer has taken all keys back.
 */
export class RemoteKeys implements KeySource {
  readonly #options: RemoteKeysOptions;
  readonly #stop = new AbortController();
  #keys: KeySet | undefined;
  #text: string | undefined;
  #ignored: readonly string[] = [];
  #generation = 0;
  #fetches = 0;
  #failures = 0;
  #failuresInRow = 0;
  #problem: string | undefined;
  #fetchedAt = 0;
  #fetchedWall: number | undefined;
  #nextWall: number | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #waiting = 0;
  #running: Promise<KeySet | undefined> | undefined;
  #cancel = (): void => {};
  /** The first attempt, good or bad. */
  readonly settled: Promise<void>;
  #isSettled = false;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
    this.settled = this.#fetch().then(() => {
      this.#isSettled = true;
    });
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  current(): KeySet | undefined {
    return this.#keys;
  }

  async refresh(reason: RefreshReason): Promise<KeySet | undefined> {
    if (this.#running === undefined) {
      // Without keys they are tried for anyway, as often as is good for the issuer.
      if (reason === 'none' || this.#stop.signal.aborted) return this.#keys;
      const now = this.#options.clock.now();
      if (now - this.#askedAt < coolDownMs) return this.#keys;
      this.#askedAt = now;
      this.#cancel();
      void this.#fetch();
    }
    if (this.#running === undefined || this.#waiting >= maxWaiting) return this.#keys;
    this.#waiting++;
    try {
      return await this.#running;
    } finally {
      this.#waiting--;
    }
  }

  get status(): RemoteKeysStatus {
    return {
      keys: this.#keys?.keys.length ?? 0,
      ...(this.#ignored.length === 0 ? {} : { ignored: this.#ignored }),
      generation: this.#generation,
      fetches: this.#fetches,
      failures: this.#failures,
      ...(this.#fetchedWall === undefined ? {} : { fetchedAt: this.#fetchedWall }),
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      ...(this.#nextWall === undefined ? {} : { nextFetchAt: this.#nextWall }),
    };
  }

  /** Fetches nothing more. The keys that there are stay readable for requests that are under way. */
  close(): void {
    this.#cancel();
    this.#nextWall = undefined;
    this.#stop.abort();
  }

  #fetch(): Promise<KeySet | undefined> {
    this.#nextWall = undefined;
    this.#fetches++;
    // A request may be what caused it, and is not who does it.
    this.#running = outside(() => this.#attempt()).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #attempt(): Promise<KeySet | undefined> {
    let delayMs: number;
    try {
      const loaded = await this.#options.load(this.#stop.signal);
      const parsed = loaded.text === this.#text ? undefined : parseJwks(loaded.text, { mayBeEmpty: true });
      delayMs = this.#succeeded(loaded, parsed);
    } catch (error) {
      if (this.#stop.signal.aborted) return this.#keys;
      delayMs = this.#failedWith(error instanceof Error ? error.message : String(error));
    }
    const { clock } = this.#options;
    if (!this.#stop.signal.aborted) {
      this.#nextWall = clock.wallNow() + delayMs;
      this.#cancel = clock.after(delayMs, () => void this.#fetch());
    }
    return this.#keys;
  }

  /** Says after how long they are to be fetched again. */
  #succeeded({ maxAgeMs, text }: LoadedKeys, parsed: ParsedJwks | undefined): number {
    const { clock, random, refreshMs } = this.#options;
    this.#text = text;
    this.#fetchedAt = clock.now();
    this.#fetchedWall = clock.wallNow();
    this.#failuresInRow = 0;
    const recovered = this.#problem !== undefined;
    this.#problem = undefined;
    this.#ignored = parsed?.ignored ?? this.#ignored;
    const renewed = parsed !== undefined && !(this.#keys !== undefined && sameKeys(this.#keys.keys, parsed.keys));
    if (renewed) this.#keys = keySetOf(parsed.keys, ++this.#generation);
    if (renewed || recovered) this.#options.changed(this.status);
    // Processes that started together do not ask together; earlier, so that the longest time holds.
    return Math.min(refreshMs, Math.max(minRefreshMs, maxAgeMs || refreshMs)) * (1 - random() / 5);
  }

  #failedWith(problem: string): number {
    const { clock, random, refreshMs } = this.#options;
    this.#failures++;
    const first = this.#problem === undefined;
    this.#problem = problem;
    const outdated = this.#keys !== undefined && clock.now() - this.#fetchedAt >= maxKeptMs;
    if (outdated) {
      this.#keys = undefined;
      this.#text = undefined;
      this.#ignored = [];
    }
    this.#options.failed(problem);
    if (first || outdated) this.#options.changed(this.status);
    const retryMs = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(this.#failuresInRow++, 20));
    return Math.min(refreshMs, retryMs) * (0.5 + random() / 2);
  }
}

/** In any order: an issuer that serves from several machines may have several. */
function sameKeys(before: readonly VerificationKey[], after: readonly VerificationKey[]): boolean {
  if (before.length !== after.length) return false;
  const same = (a: VerificationKey, b: VerificationKey): boolean =>
    a.kid === b.kid && a.algorithms.join() === b.algorithms.join() && a.key.equals(b.key);
  return before.every((a, i) => {
    const there = after[i];
    return (there !== undefined && same(a, there)) || after.some((b) => same(a, b));
  });
}
