import type { IdentitySink, IdentitySource, IdentityStore } from 'inmesh/identity';

/** One source that runs once, for several sinks. */
export interface SharedSource {
  /** Runs the source, with this sink as the first. */
  start(sink: IdentitySink, signal: AbortSignal): Promise<void>;
  /** Hears what the source says, from the last thing on; has no say in how long it runs. */
  readonly source: IdentitySource;
}

/** Everything that `source` says goes to all sinks; who comes later hears the last credentials, and the last trouble. */
export function sharedSource(source: IdentitySource): SharedSource {
  const sinks = new Set<IdentitySink>();
  let credentials: ((sink: IdentitySink) => void) | undefined;
  let trouble: ((sink: IdentitySink) => void) | undefined;
  const tell = (what: (sink: IdentitySink) => void): void => {
    for (const sink of sinks) what(sink);
  };
  const all: IdentitySink = {
    update: (value) => {
      trouble = undefined;
      tell((credentials = (sink) => sink.update(value)));
    },
    reject: (problem) => tell((trouble = (sink) => sink.reject(problem))),
    lost: (reason) => tell((trouble = (sink) => sink.lost(reason))),
    warn: (warning) => tell((sink) => sink.warn?.(warning)),
  };
  return {
    start: (sink, signal) => {
      sinks.add(sink);
      return source.run(all, signal);
    },
    source: {
      name: source.name,
      run: async (sink, signal) => {
        credentials?.(sink);
        trouble?.(sink);
        sinks.add(sink);
        await aborted(signal);
        sinks.delete(sink);
      },
    },
  };
}

/** An identity that is kept elsewhere, as a source. */
export function followingSource(identity: Pick<IdentityStore, 'current' | 'subscribe'>, name: string): IdentitySource {
  return {
    name,
    run: async (sink, signal) => {
      const active = identity.current();
      if (active !== undefined) sink.update(active.credentials);
      const unsubscribe = identity.subscribe(({ credentials }) => sink.update(credentials));
      await aborted(signal);
      unsubscribe();
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
