import { AsyncLocalStorage } from 'node:async_hooks';
import type { Service } from '../pipeline/filter.ts';
import { passed, type ServerCall } from '../pipeline/server-call.ts';

/** How a call that waited for a place goes on. */
export interface Waited {
  readonly call: ServerCall;
  readonly next: Service<ServerCall, void>;
  /** Called first, when it has its place. */
  begin(): void;
  resolve(): void;
  reject(error: Error): void;
}

/**
 * Lets a call go on later, as if it had not waited. It is somebody else's end that lets it in; what the application
 * keeps for its own request must not get mixed up.
 */
export function goLater({ begin, call, next, reject, resolve }: Waited): () => void {
  const inOwnContext = AsyncLocalStorage.snapshot();
  return () =>
    inOwnContext(() => {
      begin();
      try {
        const result = next(call);
        if (result === passed) resolve();
        else result.then(resolve, reject);
      } catch (error) {
        reject(error as Error);
      }
    });
}
