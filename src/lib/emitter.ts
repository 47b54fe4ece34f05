import type { Logger } from './logger.ts';

/** Tells whoever listens. A listener that throws is logged and does not keep others from hearing. */
export interface Emitter<Events> {
  on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
  emit<E extends keyof Events>(event: E, detail: Events[E]): void;
}

export function createEmitter<Events>(logger: Logger): Emitter<Events> {
  const listeners = new Map<keyof Events, Set<(detail: never) => void>>();
  return {
    on(event, listener) {
      let all = listeners.get(event);
      if (all === undefined) {
        all = new Set();
        listeners.set(event, all);
      }
      all.add(listener);
      return () => void all.delete(listener);
    },
    emit(event, detail) {
      for (const listener of listeners.get(event) ?? []) {
        try {
          listener(detail as never);
        } catch (error) {
          logger.error({ event: String(event), error: String(error) }, 'a listener failed');
        }
      }
    },
  };
}
