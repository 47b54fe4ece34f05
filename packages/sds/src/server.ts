import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import {
  type ActiveIdentity,
  type Clock,
  createIdentityStore,
  type IdentitySource,
  type IdentityStore,
  type Logger,
  MeshError,
  type OptionNames,
  refuseUnknownOptions,
  silentLogger,
  systemClock,
} from 'inmesh/identity';
import { mayServe, type SecretNames, type ServedSecret, secretsOf, usualNames } from './served.ts';
import { followingSource, sharedSource } from './shared-source.ts';
import { type SocketPlace, socketPlace } from './socket.ts';
import { delta, fetchOnce, noSuchSecret, type SecretStream, type StreamContext, stateOfTheWorld } from './streams.ts';

/** Options of {@link serveSds}. */
export interface ServeSdsOptions {
  /** Where to serve: the path of a Unix socket. */
  readonly path: string;
  /** What is served: an identity that is kept elsewhere … */
  readonly identity?: Pick<IdentityStore, 'current' | 'subscribe'>;
  /** … or a source, which then runs until the server is closed. One of the two is needed. */
  readonly source?: IdentitySource;
  /** Who may connect, as a file mode: 0600 (default) for the own user, 0660 for its group as well. */
  readonly mode?: number;
  /** How the secrets are called. Default: `default`, `ROOTCA` and `ALL`, as with Istio and SPIRE. */
  readonly names?: Partial<SecretNames>;
  /** Hears who asks, and what clients refuse. Default: nobody. */
  readonly logger?: Logger;
  readonly clock?: Clock;
}

const optionNames: OptionNames<ServeSdsOptions> = {
  path: true,
  identity: true,
  source: true,
  mode: true,
  names: true,
  logger: true,
  clock: true,
};

/** A running server of secrets. */
export interface SdsServer {
  readonly path: string;
  /** The same identity as a source for a mesh in this process, so that both have one certificate. */
  readonly source: IdentitySource;
  /** Ends all streams, and takes the socket away. */
  close(): Promise<void>;
}

/** Most streams at a time; an Envoy has one for each secret that its configuration names. */
const maxStreams = 1_000;
/** Largest request that is read: a list of names. */
const maxRequestBytes = 65_536;

/**
 * Serves the identity of this process by Envoy's secret discovery (SDS, v3) on a Unix socket, for an
 * Envoy beside it: `StreamSecrets`, `DeltaSecrets` and `FetchSecrets`. New certificates are pushed as
 * soon as they are there. Before the first identity, and after it has expired, clients wait.
 *
 * Whoever may connect to the socket gets the private key: the mode of the socket and of its folder
 * is the only protection, as with istio-agent.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that cannot work, or when the path is taken
 *
 * @example
 * const sds = await serveSds({ path: '/run/inmesh/sds.sock', source: caSource(options) });
 * const mesh = createMesh({ identity: sds.source });
 */
export async function serveSds(options: ServeSdsOptions): Promise<SdsServer> {
  refuseUnknownOptions('serveSds', options, optionNames);
  const { clock = systemClock, logger = silentLogger, mode = 0o600, path } = options;
  const names: SecretNames = { ...usualNames, ...options.names };
  if ((options.identity === undefined) === (options.source === undefined)) {
    throw invalid('identity', 'exactly one of identity and source is needed');
  }
  if (!Number.isInteger(mode) || (mode & ~0o660) !== 0 || (mode & 0o600) !== 0o600) {
    throw invalid('mode', `expected 0600 or 0660, not ${typeof mode === 'number' ? `0${mode.toString(8)}` : mode}`);
  }
  if (new Set(Object.values(names)).size !== 3) throw invalid('names', 'expected three different names');
  const place = await socketPlace(path, mode);
  const stop = new AbortController();
  const store = options.source && createIdentityStore({ clock, logger });
  const identity = options.identity ?? (store as IdentityStore);
  const secrets = perGeneration(identity, names);
  const streams = new Set<SecretStream>();

  const whyNot = (name: string): string | undefined =>
    mayServe(name, names) ? undefined : noSuchSecret(name, Object.values(names));
  const streaming = (open: (context: StreamContext) => SecretStream) => (call: ServerDuplexStream<Buffer, Buffer>) => {
    if (streams.size >= maxStreams) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: `more than ${maxStreams} streams` });
      return;
    }
    const stream = open({
      current: secrets,
      whyNot,
      logger,
      send: (bytes) => void call.write(bytes),
      fail: (code, details) => {
        streams.delete(stream);
        logger.warn({ error: details }, 'a request for secrets was refused');
        call.emit('error', { code, details });
      },
    });
    streams.add(stream);
    call.on('data', (bytes: Buffer) => {
      if (streams.has(stream)) stream.received(bytes);
    });
    call.on('cancelled', () => streams.delete(stream));
    call.on('end', () => {
      streams.delete(stream);
      call.end();
    });
  };
  const fetch: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    try {
      const answer = fetchOnce(call.request, { current: secrets, whyNot, logger });
      if (answer === undefined) done({ code: status.UNAVAILABLE, details: 'there is no identity yet' });
      else done(null, answer);
    } catch (error) {
      done({ code: status.INVALID_ARGUMENT, details: error instanceof Error ? error.message : String(error) });
    }
  };

  const server = new Server({ 'grpc.max_receive_message_length': maxRequestBytes });
  server.addService(service, {
    streamSecrets: streaming(stateOfTheWorld) as handleBidiStreamingCall<unknown, unknown>,
    deltaSecrets: streaming(delta) as handleBidiStreamingCall<unknown, unknown>,
    fetchSecrets: fetch as handleUnaryCall<unknown, unknown>,
  });
  await listen(server, place);
  const unsubscribe = identity.subscribe(() => {
    for (const stream of streams) stream.changed();
  });
  const shared = options.source === undefined ? undefined : sharedSource(options.source);
  const running = store && shared?.start(store.sink, stop.signal);
  logger.info({ path }, 'secrets are served');

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    unsubscribe();
    stop.abort();
    store?.close();
    server.forceShutdown();
    streams.clear();
    place.remove();
    await running;
  };
  return {
    path,
    source: shared?.source ?? followingSource(identity, `sds-server:${path}`),
    close: () => (closing ??= close()),
  };
}

const raw = (value: Buffer): Buffer => value;
const method = (name: string, stream: boolean): ServiceDefinition[string] => ({
  path: `/envoy.service.secret.v3.SecretDiscoveryService/${name}`,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const service: ServiceDefinition = {
  streamSecrets: method('StreamSecrets', true),
  deltaSecrets: method('DeltaSecrets', true),
  fetchSecrets: method('FetchSecrets', false),
};

/** Secrets are made once for each generation of the identity, however many ask. */
function perGeneration(
  identity: Pick<IdentityStore, 'current'>,
  names: SecretNames,
): () => ReadonlyMap<string, ServedSecret> | undefined {
  let made: { readonly of: ActiveIdentity; readonly secrets: ReadonlyMap<string, ServedSecret> } | undefined;
  return () => {
    const active = identity.current();
    if (active === undefined) return undefined;
    if (made?.of !== active) made = { of: active, secrets: secretsOf(active.credentials, names) };
    return made.secrets;
  };
}

async function listen(server: Server, place: SocketPlace): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${place.bindPath}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    place.publish();
  } catch (error) {
    server.forceShutdown();
    place.remove();
    throw invalid('path', `cannot be served: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function invalid(option: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_OPTION_INVALID', `serveSds: ${option}: ${reason}`);
}
