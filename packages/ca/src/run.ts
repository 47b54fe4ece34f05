import { type Clock, type Logger, silentLogger, systemClock } from 'inmesh/identity';
import type { Authority } from './authority-types.ts';
import { createAuthority } from './open-authority.ts';
import type { AuthorityOptions } from './options.ts';
import { type AuthorityServer, type ServeOptions, serveAuthority } from './server.ts';

/** Options of {@link runAuthority}: those of the authority and of its server. */
export interface RunOptions extends AuthorityOptions, ServeOptions {
  /** Folder of the authority; made when there is none. Without one it lives in memory. */
  readonly dir?: string;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Closes the server when it aborts. */
  readonly signal?: AbortSignal;
}

/** An authority that serves. */
export interface RunningAuthority extends AuthorityServer {
  readonly authority: Authority;
}

/**
 * Opens or makes an authority and serves it: what `inmesh ca serve` does.
 *
 * @example
 * const running = await runAuthority({ dir: './ca', port: 8443 });
 * process.once('SIGTERM', () => running.close());
 */
export async function runAuthority(options: RunOptions = {}): Promise<RunningAuthority> {
  const { clock = systemClock, logger = silentLogger, signal } = options;
  const authority = createAuthority({ ...options, clock, logger });
  const server = await serveAuthority(authority, { ...options, clock, logger });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= server.close());
  if (signal?.aborted === true) await close();
  else signal?.addEventListener('abort', () => void close(), { once: true });
  return { ...server, close, authority };
}
