import type { Test } from 'tap';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials, IdentitySource } from '../../src/identity/source.ts';
import type { IdentityStore } from '../../src/identity/store.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { type RecordingLogger, recordingLogger } from '../support/recording-logger.ts';

/** What is issued. */
export interface IssueOptions {
  /** Roots (PEM) that the own trust domain has besides the authority's own. Default none: those of before are gone. */
  readonly extraRoots?: readonly string[];
  /** End of the leaf's life, milliseconds since the epoch. Default an hour from the clock's now. */
  readonly notAfter?: number;
}

/** One source with the peer that it asks. */
export interface IdentitySourceHarness {
  readonly source: IdentitySource;
  /** SPIFFE ID of what is issued. */
  readonly spiffeId: string;
  /** From now on the peer has a new good certificate with its own key, and these roots. Ends `mismatch` and `garble`. */
  issue(options?: IssueOptions): Promise<void>;
  /** From now on the peer has a new certificate with a key that is not its own. */
  mismatch(): Promise<void>;
  /** From now on what the peer has cannot be read: half a file, an answer of another kind. */
  garble(): Promise<void>;
  /** From now on the peer cannot be reached, or answers nothing of use. What was opened to it ends. */
  cutOff(): Promise<void>;
  /** The peer is back, with what was issued last. */
  reconnect(): Promise<void>;
  /** From now on the peer takes requests and does not answer. Left out where nothing can hang. */
  hang?(): Promise<void>;
  /** Whether the peer was asked since `hang`. Goes with it. */
  asked?(): boolean;
  /** What must be in no message: tokens, keys. The keys of credentials that were told are added by the suite. */
  secrets?(): readonly string[];
  /** Connections that the source holds to its peer right now. Left out where there are none. */
  connections?(): number;
  close?(): Promise<void>;
}

/** How a source is set up. */
export interface IdentitySourceUnderTest {
  readonly name: string;
  make(t: Test, clock: Clock): Promise<IdentitySourceHarness>;
  /** Whether a timer of this length bounds a request, and is no pause between two. Default: none does. */
  isLimit?(delayMs: number): boolean;
  /** It looks at fixed intervals instead of waiting longer and longer. Default false. */
  readonly polls?: boolean;
}

/** A running source with what it told, and an identity store behind it as in a process. */
export interface RunningSource {
  readonly peer: IdentitySourceHarness;
  readonly clock: FakeClock;
  readonly store: IdentityStore;
  readonly logger: RecordingLogger;
  readonly updates: readonly Credentials[];
  readonly rejected: readonly Error[];
  readonly lost: readonly Error[];
  /** Lengths of the pauses so far. */
  readonly pauses: readonly number[];
  /** Timers of the source that wait, limits included. */
  timers(): number;
  /** Wakes the source whenever it sleeps, until `reached`. */
  until(what: string, reached: () => boolean): Promise<void>;
  /** Lets the source do what it does next, so many times; one that waits for its peer alone is left alone. */
  wake(times: number): Promise<void>;
  /** Aborts, and fails unless run() ends without any help of the clock. */
  stop(): Promise<void>;
}

/** Real time that anything may take: far beyond what is needed, so that a hang has a name. */
const patienceMs = 20_000;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Starts a source of its own for one test. It runs from the first wait on. */
export async function beginSource(t: Test, under: IdentitySourceUnderTest): Promise<RunningSource> {
  const clock = fakeClock();
  const logger = recordingLogger();
  const store = createIdentityStore({ clock, logger });
  const updates: Credentials[] = [];
  const rejected: Error[] = [];
  const lost: Error[] = [];
  const pauses: number[] = [];
  const sleeping = new Set<{ readonly due: number }>();
  let timers = 0;
  const watched: Clock = {
    ...clock,
    after: (delayMs, action, keepAlive) => {
      const pause = { due: clock.now() + delayMs };
      const isPause = under.isLimit?.(delayMs) !== true;
      if (isPause) {
        pauses.push(delayMs);
        sleeping.add(pause);
      }
      timers++;
      let waiting = true;
      const end = (): void => {
        if (waiting) timers--;
        waiting = false;
        sleeping.delete(pause);
      };
      const cancel = clock.after(
        delayMs,
        () => {
          end();
          action();
        },
        keepAlive,
      );
      return () => {
        end();
        cancel();
      };
    },
  };
  const peer = await under.make(t, watched);
  const abort = new AbortController();
  let ended = false;
  const tell = (told: () => void): void => {
    if (abort.signal.aborted) t.fail('the source speaks after it was told to stop');
    told();
  };
  const { source } = peer;
  let running: Promise<unknown> | undefined;
  const start = (): void => {
    running ??= source
      .run(
        {
          update: (credentials) =>
            tell(() => {
              updates.push(credentials);
              store.sink.update(credentials);
            }),
          reject: (problem) =>
            tell(() => {
              rejected.push(problem);
              store.sink.reject(problem);
            }),
          lost: (reason) =>
            tell(() => {
              lost.push(reason);
              store.sink.lost(reason);
            }),
          warn: (warning) => tell(() => store.sink.warn?.(warning)),
        },
        abort.signal,
      )
      .then(
        () => {
          ended = true;
        },
        (error: unknown) => t.fail(`run() must not throw: ${String(error)}`),
      );
  };
  const wakeOnce = (): void => {
    const due = Math.min(...[...sleeping].map((pause) => pause.due));
    clock.advance(Math.max(0, due - clock.now()));
  };
  const limited = async (what: string, reached: () => boolean, between: () => void): Promise<void> => {
    start();
    const limit = performance.now() + patienceMs;
    while (!reached()) {
      if (performance.now() > limit) {
        const told = `${updates.length} updates; rejected: ${rejected.join('; ')}; lost: ${lost.join('; ')}`;
        throw new Error(`waited in vain for ${what}; told so far: ${told}`);
      }
      between();
      await turn();
    }
  };
  const self: RunningSource = {
    peer,
    clock,
    store,
    logger,
    updates,
    rejected,
    lost,
    pauses,
    timers: () => timers,
    until: (what, reached) =>
      limited(what, reached, () => {
        if (sleeping.size > 0) wakeOnce();
      }),
    wake: async (times) => {
      for (let i = 0; i < times; i++) {
        for (let turns = 0; sleeping.size === 0 && turns < 2_000; turns++) await turn();
        if (sleeping.size > 0) wakeOnce();
      }
      for (let turns = 0; sleeping.size === 0 && turns < 2_000; turns++) await turn();
    },
    stop: async () => {
      start();
      abort.abort();
      await limited(
        'run() to end after the abort',
        () => ended,
        () => {},
      );
      t.equal(timers, 0, 'no timer stays behind');
      if (peer.connections !== undefined) {
        const { connections } = peer;
        await limited(
          'the connections to end',
          () => connections() === 0,
          () => {},
        );
      }
    },
  };
  t.teardown(async () => {
    abort.abort();
    await running;
    store.close();
    await peer.close?.();
  });
  return self;
}
