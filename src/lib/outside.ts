import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Runs `action` outside of any request: with no scope, no span, nothing of whoever happened to be the
 * first to need something. For work that goes on by itself, which would otherwise keep that request's
 * context alive and count as its doing.
 */
export const outside: <T>(action: () => T) => T = AsyncLocalStorage.snapshot();
