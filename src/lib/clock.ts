/**
 * Time as an input. Everything in inmesh that waits or measures takes a {@link Clock}, so that
 * tests move time by hand and never sleep.
 */
export interface Clock {
  /** Monotonic time in milliseconds; only differences mean something. Never goes back. */
  now(): number;
  /** Wall-clock time in milliseconds since the epoch, for certificates and log lines. */
  wallNow(): number;
  /**
   * Runs `action` once after `delayMs`. The timer does not keep the process alive unless
   * `keepAlive` says so: when somebody waits for just this and for nothing else.
   * Returns a function that cancels it; cancelling twice is harmless.
   */
  after(delayMs: number, action: () => void, keepAlive?: boolean): () => void;
  /** Runs `action` once, after input and output that is already waiting was handled. */
  afterIo(action: () => void): void;
}

/** The real clock of this process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  after(delayMs, action, keepAlive) {
    // setTimeout turns anything above 2^31-1 into 1 ms, which would fire at once.
    const timer = setTimeout(action, Math.min(delayMs, 2_147_483_647));
    if (keepAlive !== true) timer.unref();
    return () => clearTimeout(timer);
  },
  afterIo(action) {
    setImmediate(action);
  },
};

/**
 * Keeps the process alive until the returned function is called: for the time in which somebody
 * waits for something that only unreferenced timers and sockets will bring.
 */
export function holdProcess(): () => void {
  const timer = setInterval(() => {}, 2_147_483_647);
  return () => clearInterval(timer);
}
