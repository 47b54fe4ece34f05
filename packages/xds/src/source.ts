import type { ConfigSource, SourceContext } from 'inmesh/config';
import { MeshError, waitFor } from 'inmesh/identity';
import {
  type CompileContext,
  type Compiled,
  compileResources,
  prepareResources,
  readers,
  stepReaders,
} from './compile/compile.ts';
import { openAccess } from './connection/credentials.ts';
import { followServers, type Servers } from './connection/servers.ts';
import { createLastGood, type LastGood } from './last-good.ts';
import type { Any } from './proto/any.ts';
import { type CacheParts, createCache, type ResourceCache } from './protocol/cache.ts';
import { createDeltaSession } from './protocol/delta.ts';
import { createSotwSession } from './protocol/sotw.ts';
import type { Watches } from './protocol/watches.ts';
import { createPublisher, type Publisher } from './publish.ts';
import { type ResourceSet, type ResourceType, resourceTypes } from './resources.ts';
import { addressesOf, nodeOf } from './setup/node.ts';
import type { XdsSourceOptions } from './setup/options.ts';
import { resolveSettings } from './setup/resolve.ts';
import { invalid } from './setup/server.ts';
import { statusOf, type XdsStatus } from './status.ts';
import { createTurns, type Steps } from './turns.ts';

/** Configuration from an xDS control plane. */
export interface XdsSource extends ConfigSource {
  /** How it stands: control planes, and each resource (what gRPC's CSDS says). */
  status(): XdsStatus;
}

/**
 * Configuration from an xDS control plane, over one stream (ADS): Istio's istiod, as it configures
 * a sidecar (the default), or any that speaks to gRPC clients.
 *
 * A snapshot is published only when everything is there that its resources mention, so that no call
 * meets half of a change. What cannot be used of a response is refused by name, with a NACK, and
 * stays as it was; the rest is used. When the control plane is out of reach the last configuration
 * stays in force, and connections are tried with growing pauses.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options, variables or a bootstrap that can never work
 *
 * @example
 * const mesh = createMesh({ config: xdsSource(), identity: istiodSource() });
 */
export function xdsSource(options: XdsSourceOptions = {}): XdsSource {
  return createSource(options, { readers, stepReaders, compile: compileResources, prepare: prepareResources });
}

/** How often, and how many times, a stream looks for a certificate to show before that counts as a failure. */
const identityWaitMs = 100;
const maxWaits = 100;

/** What becomes of resources. */
export interface Compiler {
  /** Checks a resource by itself. */
  readonly readers: Readonly<Record<ResourceType, (any: Any) => unknown>>;
  compile(set: ResourceSet, context: CompileContext, version: string): Compiled;
  /** The same ahead and in steps, so that it costs little afterwards. */
  readonly stepReaders?: CacheParts['stepReaders'];
  prepare?(set: ResourceSet, context: CompileContext): Steps<void>;
}

/** {@link xdsSource} with a compiler of one's own. */
export function createSource(
  options: XdsSourceOptions,
  { compile, prepare, readers, stepReaders: steps }: Compiler,
): XdsSource {
  const settings = resolveSettings(options);
  const { clock, random, servers } = settings;
  let running: { readonly cache: ResourceCache; readonly servers: Servers; readonly watches: Watches } | undefined;

  function* readAll(set: ResourceSet): Steps<void> {
    for (const type of resourceTypes) {
      for (const any of set[type].values()) {
        yield* steps?.[type]?.(any, undefined) ?? [];
        readers[type](any);
        yield;
      }
    }
  }

  const run: ConfigSource['run'] = async (sink, signal, mesh?: SourceContext) => {
    const workload = options.workload ?? mesh?.workload;
    if (workload === undefined) throw invalid('workload', 'expected one, where no mesh says whom it is for');
    if (signal.aborted) return;
    const addresses = addressesOf(settings.node, settings.env);
    const node = nodeOf(settings.profile, settings.node, workload, addresses, settings.env);
    const { profile, serverListeners, services } = settings;
    const context: CompileContext = { workload, profile, services, serverListeners, addresses };
    let publisher: Publisher | undefined;
    let following: Servers | undefined;
    let watches: Watches | undefined;
    let isLost = false;
    let inForce = false;
    /** Why what is in force is what an earlier process kept; absent when it is not. */
    let stale: Error | undefined;
    const turns = createTurns(clock, () => following?.readOn());
    const cache = createCache({
      clock,
      readers,
      ...(steps === undefined ? {} : { stepReaders: steps }),
      changed: () => publisher?.changed(),
      missingMs: settings.missingMs,
      maxResources: settings.maxResources,
      ignoreDeletion: settings.ignoreDeletion,
    });
    const lastGood =
      options.lastGoodFile === undefined
        ? undefined
        : createLastGood({
            path: options.lastGoodFile,
            clock,
            owner: [profile, workload, services, serverListeners, servers.map(({ address }) => address)],
            maxBytes: 4 * settings.maxMessageBytes,
            failed: ({ message }) => sink.reject([{ message }]),
          });
    publisher = createPublisher({
      context,
      cache,
      clock,
      compile,
      ...(prepare === undefined ? {} : { prepare }),
      turns,
      sink,
      published(set) {
        inForce = true;
        if (stale === undefined) lastGood?.keep(set);
        else sink.lost(stale);
      },
      watch(next) {
        watches = next;
        cache.watch(next);
        following?.watchesChanged();
      },
    });
    const { changed, complete, recovered } = publisher;
    /** With what an earlier process kept, as long as no control plane has answered. */
    const begin = async (from: LastGood, reason: Error): Promise<void> => {
      try {
        const set = await from.load();
        await new Promise<void>((resolve, reject) => turns.run(readAll(set), resolve, reject));
        if (!isLost || inForce || signal.aborted) return;
        stale = new MeshError(
          'ERR_MESH_CONTROL_PLANE',
          `${reason.message}; in force is what was kept of an earlier run`,
        );
        cache.restore(set);
        changed();
      } catch (error) {
        sink.lost(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const makeSession = settings.protocol === 'delta' ? createDeltaSession : createSotwSession;
    following = followServers({
      servers,
      clock,
      random,
      protocol: settings.protocol,
      maxMessageBytes: settings.maxMessageBytes,
      headers: { ...clusterHeader(node.metadata?.['CLUSTER_ID']), ...settings.headers },
      watches: () => watches as Watches,
      async openAccess(server) {
        const shows = server.tls !== undefined && server.tls !== false && server.tls.identity === true;
        // At the start it is asked for at the same time as the configuration.
        for (
          let waits = 0;
          shows && waits < maxWaits && mesh?.credentials() === undefined && !signal.aborted;
          waits++
        ) {
          await waitFor(clock, identityWaitMs, signal);
        }
        return openAccess(server, () => mesh?.credentials());
      },
      makeSession: (known) => makeSession({ node, cache, known }),
      complete,
      requested: cache.requested,
      disconnected: cache.disconnected,
      busy: turns.busy,
      receive({ update }, received, failed) {
        // What nobody asked for is no answer.
        if (update === undefined) return;
        if (isLost) recovered();
        isLost = false;
        stale = undefined;
        turns.run(cache.receive(update), received, failed);
      },
      lost(reason) {
        if (isLost) return;
        isLost = true;
        sink.lost(reason);
        if (lastGood !== undefined && !inForce) void begin(lastGood, reason);
      },
    });
    running = {
      cache,
      servers: following,
      get watches() {
        return watches as Watches;
      },
    };
    await waitForEnd(signal);
    following.close();
    turns.close();
    publisher.close();
    cache.close();
    await lastGood?.close();
  };

  return {
    name: `xds:${servers[0]?.address}`,
    run,
    status: () => statusOf(settings, running),
  };
}

/** Which API server made the token: istiod asks that one. */
function clusterHeader(id: unknown): Record<string, string> {
  return typeof id === 'string' && /^[\x21-\x7e]+$/.test(id) ? { clusterid: id } : {};
}

function waitForEnd(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
