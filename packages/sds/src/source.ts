import {
  type Client,
  type ClientDuplexStream,
  Client as GrpcClient,
  credentials as grpcCredentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import {
  type Clock,
  type IdentitySink,
  type IdentitySource,
  isTrustDomain,
  type Logger,
  MeshError,
  type OptionNames,
  printable,
  type Random,
  refuseUnknownOptions,
  silentLogger,
  systemClock,
  systemRandom,
  waitFor,
} from 'inmesh/identity';
import { secretType, writeDiscoveryRequest } from './discovery.ts';
import { type SecretsHeld, secretsHeld } from './held.ts';

/** Options of {@link sdsSource}. */
export interface SdsSourceOptions {
  /**
   * Path of the Unix socket. Default: where istio-agent and SPIRE's CSI driver for Istio put it,
   * `/var/run/secrets/workload-spiffe-uds/socket`; its name may be changed by
   * `WORKLOAD_IDENTITY_SOCKET_FILE`, as with Istio. SPIRE's own is `/tmp/spire-agent/public/api.sock`.
   */
  readonly path?: string;
  /** Secret with certificate and key. Default `default`; for SPIRE also a SPIFFE ID. */
  readonly certificate?: string;
  /** Secret with the roots. Default `ROOTCA`; `ALL` for all trust domains that SPIRE federates with. */
  readonly roots?: string;
  /**
   * Further trust domains that the roots speak for, where they come without trust domains, as from
   * Istio with `caCertificates[].trustDomains`. Default: the own one alone.
   */
  readonly trustDomains?: readonly string[];
  /** Who asks, for the log of the server; Istio insists on one. Default `inmesh`. */
  readonly nodeId?: string;
  /** Time until both secrets are there, milliseconds; then the source says so and connects anew. Default 30,000. */
  readonly timeoutMs?: number;
  /** Hears which fields of secrets have no effect. Default: nobody. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

const optionNames: OptionNames<SdsSourceOptions> = {
  path: true,
  certificate: true,
  roots: true,
  trustDomains: true,
  nodeId: true,
  timeoutMs: true,
  logger: true,
  clock: true,
  random: true,
};

const firstBackoffMs = 50;
const maxBackoffMs = 10_000;
/** A stream that lived this long was a healthy one. */
const healthyMs = 30_000;
/** Largest answer that is read. */
const maxAnswerBytes = 4_194_304;

/** Statuses by which a server says no, and not that it cannot just now. */
const refusals: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
]);

/**
 * Certificates from Istio's agent or from SPIRE, by Envoy's secret discovery (SDS) on a Unix socket:
 * one stream for both secrets, on which new ones are pushed. Certificate and key come in one secret
 * and are taken together or not at all; where roots come a moment later than the certificate that
 * needs them, both are put in force at once. What cannot be used is refused towards the server
 * (NACK), with the reason, and the last good credentials stay. A stream that ends is opened again,
 * after 50 ms at first and 10 s at most, and so is one that is silent when a renewal is overdue.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that can never work
 *
 * @example
 * const mesh = createMesh({ identity: sdsSource() });
 */
export function sdsSource(options: SdsSourceOptions = {}): IdentitySource {
  refuseUnknownOptions('sdsSource', options, optionNames);
  const { certificate = 'default', roots = 'ROOTCA', nodeId = 'inmesh', timeoutMs = 30_000 } = options;
  const { clock = systemClock, logger = silentLogger, random = systemRandom, trustDomains = [] } = options;
  const path = options.path ?? usualPath(process.env['WORKLOAD_IDENTITY_SOCKET_FILE']);
  if (path === '') throw invalid('path', 'expected the path of a socket');
  if (certificate === '' || roots === '' || certificate === roots) {
    throw invalid('roots', 'expected two different names of secrets');
  }
  if (nodeId === '') throw invalid('nodeId', 'expected a name');
  if (!(timeoutMs > 0)) throw invalid('timeoutMs', 'expected more than 0');
  const wrong = trustDomains.find((name) => !isTrustDomain(name));
  if (wrong !== undefined) throw invalid('trustDomains', `expected a trust domain, not ${JSON.stringify(wrong)}`);
  const names = [certificate, roots];

  /** Runs until the stream ends, and says why it did. */
  const follow = async (client: Client, held: SecretsHeld, signal: AbortSignal): Promise<MeshError> => {
    const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
      '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
      raw,
      raw,
    );
    const { promise, resolve } = Promise.withResolvers<MeshError>();
    const say = (versionInfo: string, responseNonce: string, error?: { code: number; message: string }): void => {
      const request = { nodeId, resourceNames: names, typeUrl: secretType, versionInfo, responseNonce };
      stream.write(writeDiscoveryRequest(error === undefined ? request : { ...request, errorDetail: error }));
    };
    const end = (why: MeshError): void => {
      resolve(why);
      stream.cancel();
    };
    let cancelLimit = (): void => {};
    const look = (): void => {
      const missing = held.missing();
      if (missing.length > 0) end(trouble(path, `has not sent ${missing.join(' and ')} within ${timeoutMs} ms`));
      // A server that has what it sent last says nothing; one that hangs does neither.
      else if (held.overdue()) end(trouble(path, 'has sent no new certificate, though it is time'));
      else cancelLimit = clock.after(timeoutMs, look);
    };
    cancelLimit = clock.after(timeoutMs, look);
    const onAbort = (): void => end(trouble(path, 'is no longer needed'));
    signal.addEventListener('abort', onAbort);
    // One after the other: reading a file that a secret names takes time.
    let turn = Promise.resolve();
    stream.on('data', (bytes: Buffer) => {
      turn = turn.then(async () => {
        if (signal.aborted) return;
        const verdict = await held.take(bytes);
        if (!signal.aborted && !stream.destroyed) say(verdict.versionInfo, verdict.nonce, verdict.error);
      });
    });
    stream.on('error', (error: ServiceError) => resolve(failed(path, error)));
    stream.on('end', () => resolve(trouble(path, 'has ended the stream')));
    say(held.acceptedVersion(), '');
    const why = await promise;
    cancelLimit();
    signal.removeEventListener('abort', onAbort);
    stream.cancel();
    await turn;
    return why;
  };

  const run = async (sink: IdentitySink, signal: AbortSignal): Promise<void> => {
    const held = secretsHeld({ certificate, roots, trustDomains, clock, logger, sink, signal });
    let failures = 0;
    while (!signal.aborted) {
      // A client of its own each time: the back-off is ours, and not that of gRPC as well.
      const client = new GrpcClient(`unix:${path}`, grpcCredentials.createInsecure(), {
        'grpc.max_receive_message_length': maxAnswerBytes,
        'grpc.enable_retries': 0,
        'grpc.use_local_subchannel_pool': 1,
      });
      const before = held.accepted();
      const began = clock.now();
      const why = await follow(client, held, signal);
      client.close();
      if (signal.aborted) break;
      if (held.missing().length === 0 && clock.now() - began >= healthyMs) failures = 0;
      if (why.code === 'ERR_MESH_NO_IDENTITY') sink.reject(why);
      // That a stream with secrets has ended is no trouble yet: servers restart. The next one tells.
      else if (held.accepted() === before || held.missing().length > 0) sink.lost(why);
      const backoff = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures++, 20)) * (0.5 + random() / 2);
      await waitFor(clock, backoff, signal);
    }
    held.close();
  };
  return { name: `sds:${path}`, run };
}

const raw = (value: Buffer): Buffer => value;

function usualPath(file = 'socket'): string {
  if (file === '' || file.includes('/'))
    throw invalid('path', 'WORKLOAD_IDENTITY_SOCKET_FILE: expected the name of a file');
  return `/var/run/secrets/workload-spiffe-uds/${file}`;
}

function failed(path: string, { code, details, message }: ServiceError): MeshError {
  const reason = `${status[code] ?? code}: ${printable(details || message)}`;
  return refusals.has(code)
    ? new MeshError('ERR_MESH_NO_IDENTITY', `${path} refused: ${reason}`)
    : trouble(path, `is out of reach: ${reason}`);
}

function trouble(path: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_CA', `${path} ${reason}`);
}

function invalid(option: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_OPTION_INVALID', `sdsSource: ${option}: ${reason}`);
}
