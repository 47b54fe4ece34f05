import { join } from 'node:path';
import {
  type Clock,
  type Logger,
  type OptionNames,
  refuseUnknownOptions,
  silentLogger,
  systemClock,
  type TrustBundles,
} from 'inmesh/identity';
import type { Authority } from './authority-types.ts';
import { type BundleEndpoint, type BundleEndpointOptions, serveBundleEndpoint } from './bundle-endpoint.ts';
import { createFederation } from './federation.ts';
import { folderFederationStore, memoryFederationStore } from './federation-store.ts';
import type { Federation } from './federation-types.ts';
import { createAuthority } from './open-authority.ts';
import type { AuthorityOptions } from './options.ts';
import { type AuthorityServer, type ServeOptions, serveAuthority } from './server.ts';

/** Options of {@link runAuthority}: those of the authority and of its server. */
export interface RunOptions extends Omit<AuthorityOptions, 'federated'>, ServeOptions {
  /** Folder of the authority; made when there is none. Without one it lives in memory. */
  readonly dir?: string;
  /** Serves the bundle to other trust domains. Default: it does not. */
  readonly bundleEndpoint?: BundleEndpointOptions;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Closes the server when it aborts. */
  readonly signal?: AbortSignal;
}

/** Of a `passphrase` or a `dir` that is mistyped nobody would learn that keys are not encrypted, or not kept. */
const optionNames: OptionNames<RunOptions> = {
  dir: true,
  bundleEndpoint: true,
  signal: true,
  trustDomain: true,
  leafTtlMs: true,
  keyType: true,
  nameConstraints: true,
  passphrase: true,
  extraRoots: true,
  refuseKeyReuse: true,
  host: true,
  port: true,
  names: true,
  requestsPerSecond: true,
  burst: true,
  kubernetes: true,
  attestors: true,
  clock: true,
  logger: true,
};

/** An authority that serves. */
export interface RunningAuthority extends AuthorityServer {
  readonly authority: Authority;
  /** Whom the authority trusts beside itself; its members trust them too. */
  readonly federation: Federation;
  readonly bundleEndpoint?: BundleEndpoint;
}

const none: TrustBundles = new Map();
/** How often the folder is looked at for relations that another process added or removed. */
const followMs = 1_000;

/**
 * Opens or makes an authority and serves it: what `inmesh ca serve` does.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that are wrong, or that there are not
 *
 * @example
 * const running = await runAuthority({ dir: './ca', port: 8443 });
 * process.once('SIGTERM', () => running.close());
 */
export async function runAuthority(options: RunOptions = {}): Promise<RunningAuthority> {
  refuseUnknownOptions('runAuthority', options, optionNames);
  const { clock = systemClock, dir, logger = silentLogger, signal } = options;
  let federation: Federation | undefined;
  const federated = (): TrustBundles => federation?.bundles() ?? none;
  const authority = createAuthority({ ...options, clock, logger, federated });
  const { trustDomain } = authority;
  const ownRoots = (): readonly string[] => authority.ownBundles.get(trustDomain) ?? [];
  const store =
    dir === undefined ? memoryFederationStore() : folderFederationStore(join(dir, 'federation'), trustDomain);
  const following = createFederation({ store, trustDomain, ownRoots, clock, logger });
  federation = following;
  // What is stored counts before the first member asks.
  authority.refresh();
  following.subscribe(() => authority.refresh());

  const server = await serveAuthority(authority, { ...options, clock, logger });
  const where = { clock, logger, ...(dir === undefined ? {} : { dir }) };
  let bundleEndpoint: BundleEndpoint | undefined;
  if (options.bundleEndpoint !== undefined) {
    try {
      bundleEndpoint = await serveBundleEndpoint(authority, { ...where, ...options.bundleEndpoint });
    } catch (error) {
      await server.close();
      throw error;
    }
  }
  let stopFollowing = (): void => {};
  const follow = (): void => {
    try {
      following.sync();
    } catch (error) {
      logger.error({ error: (error as Error).message }, 'the relations could not be looked at; trying again');
    }
    stopFollowing = clock.after(followMs, follow);
  };
  follow();

  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    stopFollowing();
    following.close();
    await Promise.all([server.close(), bundleEndpoint?.close()]);
  };
  const close = (): Promise<void> => (closing ??= closeAll());
  if (signal?.aborted === true) await close();
  else signal?.addEventListener('abort', () => void close(), { once: true });
  return {
    ...server,
    close,
    authority,
    federation: following,
    ...(bundleEndpoint === undefined ? {} : { bundleEndpoint }),
  };
}
