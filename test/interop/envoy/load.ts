/** Requests that go on until they are told to stop. */
export interface Load {
  /** How many were answered. */
  readonly answered: () => number;
  /** What went wrong, once for each request that was lost. */
  readonly lost: readonly string[];
  /** Resolves when this many more were answered. */
  more(count: number): Promise<void>;
  /** Stops, and resolves when the last one was answered. */
  stop(): Promise<void>;
}

/** Makes requests, `width` at a time, one after the other. `ask` gives back the status. */
export function startLoad(width: number, ask: () => Promise<number>): Load {
  const lost: string[] = [];
  let answered = 0;
  let running = true;
  const waiting = new Set<{ readonly at: number; readonly done: () => void }>();
  const line = async (): Promise<void> => {
    while (running) {
      try {
        const status = await ask();
        if (status === 200) answered++;
        else lost.push(`status ${status}`);
      } catch (error) {
        lost.push(String(error));
      }
      for (const each of waiting) {
        // A request that is lost counts here, so that nobody waits for ever.
        if (answered + lost.length < each.at) continue;
        waiting.delete(each);
        each.done();
      }
    }
  };
  const lines = Array.from({ length: width }, line);
  return {
    answered: () => answered,
    lost,
    more: (count) => new Promise((done) => void waiting.add({ at: answered + lost.length + count, done })),
    async stop() {
      running = false;
      await Promise.all(lines);
    },
  };
}
