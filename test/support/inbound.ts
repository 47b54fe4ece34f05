import type { RequestListener } from 'node:http';
import { type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { peerOfSocket } from '../../src/identity/verify-peer.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { defaultInboundPolicy, type InboundPolicy } from '../../src/model/inbound.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { Workload } from '../../src/model/workload.ts';
import { mtlsModeOf } from '../../src/mtls/mode.ts';
import { createServerPipeline, type ServerPipeline } from '../../src/server-pipeline.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { type Acceptor, createAcceptor } from '../../src/transport/acceptor.ts';
import type { AcceptorLimits } from '../../src/transport/limits.ts';
import { createTrustWatch } from '../../src/transport/trust-watch.ts';
import type { TestAuthority } from './certificates.ts';
import { type RecordingLogger, recordingLogger } from './recording-logger.ts';
import { snapshot } from './snapshot.ts';

/** The workload of inbound tests. */
export const shopWeb: Workload = {
  name: 'web-v1',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web', version: 'v1' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** A snapshot that says nothing but how to treat callers. */
export function inboundSnapshot(inbound: Partial<InboundPolicy> = {}): Snapshot {
  return snapshot({}, [], { inbound: { ...defaultInboundPolicy, ...inbound } });
}

export interface TestPipeline {
  readonly pipeline: ServerPipeline;
  readonly metrics: Metrics;
  readonly logger: RecordingLogger;
  /** Takes another snapshot, or none. */
  use(next: Snapshot | undefined): void;
}

/** The server pipeline over a snapshot that the test changes. */
export function testPipeline(
  first: Snapshot | undefined = inboundSnapshot(),
  options: Partial<Parameters<typeof createServerPipeline>[0]> = {},
): TestPipeline {
  const metrics = createMetrics();
  const logger = recordingLogger();
  let now: Snapshot | undefined = first;
  const pipeline = createServerPipeline({
    snapshot: () => now,
    workload: shopWeb,
    metrics,
    logger,
    clock: systemClock,
    ...options,
  });
  const use = (next: Snapshot | undefined): void => {
    now = next;
  };
  return { pipeline, metrics, logger, use };
}

export interface TestInbound extends TestPipeline {
  readonly port: number;
  readonly acceptor: Acceptor;
  /** Gives the server another certificate. */
  rotate(credentials: Credentials): void;
}

export interface TestInboundOptions {
  readonly authority?: TestAuthority;
  /** Another trust domain that the server trusts as well. */
  readonly federated?: TestAuthority;
  readonly policy?: Partial<InboundPolicy>;
  readonly limits?: Partial<AcceptorLimits>;
  readonly clock?: Clock;
  /** Cut connections of clients that are no longer trusted. */
  readonly closeUntrusted?: boolean;
}

/** A whole inbound side on a port of loopback: acceptor, pipeline, `app`. */
export async function testInbound(app: RequestListener, options: TestInboundOptions = {}): Promise<TestInbound> {
  const clock = options.clock ?? systemClock;
  const store = createIdentityStore({ clock, logger: recordingLogger() });
  const first = inboundSnapshot(options.policy);
  let current: Snapshot | undefined = first;
  const parts = testPipeline(first, {
    clock,
    peerOfSocket: (socket) => {
      const bundles = store.current()?.credentials.trustBundles;
      return bundles && peerOfSocket(socket, bundles, clock);
    },
  });
  const { authority, federated } = options;
  if (authority !== undefined) {
    const trustBundles = new Map([...authority.trustBundles, ...(federated?.trustBundles ?? [])]);
    store.sink.update({ ...authority.issue('spiffe://cluster.local/ns/shop/sa/web'), trustBundles });
  }
  const trustWatch = options.closeUntrusted === true ? createTrustWatch(clock, parts.logger) : undefined;
  const acceptor = createAcceptor({
    trustWatch,
    identity: store.current,
    subscribe: store.subscribe,
    mode: (port) => (current === undefined ? 'STRICT' : mtlsModeOf(current.inbound.mtls, port)),
    parameters: (port) => current?.inbound.tls?.ports.get(port) ?? current?.inbound.tls?.others,
    onRequest: parts.pipeline.serve(app),
    onProtocolError: parts.pipeline.countRefusal,
    logger: parts.logger,
    clock,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const { port } = await acceptor.listen({ host: '127.0.0.1' });
  return {
    ...parts,
    use: (next) => {
      current = next;
      parts.use(next);
    },
    port,
    acceptor,
    rotate: store.sink.update,
  };
}

/** One response as it was on the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawOptions {
  /** Present: TLS, with these credentials (or none). */
  readonly tls?: { readonly credentials?: Credentials; readonly ca: string; readonly alpn?: string[] };
  /** Responses to wait for; the connection is cut then. Default 1. */
  readonly answers?: number;
}

/** Opens a connection for raw bytes. Errors end it; what was received until then counts. */
export function rawConnection(port: number, tls?: RawOptions['tls']): Socket {
  const at = { host: '127.0.0.1', port };
  if (tls === undefined) return tcpConnect(at);
  const { credentials, ca, alpn } = tls;
  return tlsConnect({
    ...at,
    ca,
    checkServerIdentity: () => undefined,
    ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
    ...(credentials === undefined ? {} : { cert: credentials.certificateChainPem, key: credentials.privateKeyPem }),
  });
}

/** Writes bytes and reads responses, with no HTTP library in between that would correct anything. */
export function rawExchange(
  port: number,
  bytes: string | Buffer,
  options: RawOptions = {},
): Promise<readonly RawAnswer[]> {
  const { answers = 1 } = options;
  return new Promise((resolve) => {
    const socket = rawConnection(port, options.tls);
    const parse = (): readonly RawAnswer[] => parseAnswers(received, bytes.slice(0, 5).toString() === 'HEAD ');
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      received += text;
      if (parse().length >= answers) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(parse()));
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  });
}

/** The complete responses in what was received. Bodies with a length or chunks; 1xx have none. */
export function parseAnswers(received: string, head = false): readonly RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = received; ; ) {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) return answers;
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n');
    const status = Number(first.split(' ')[1]);
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    rest = rest.slice(end + 4);
    let length = head || status < 200 ? 0 : Number(headers['content-length'] ?? 0);
    if (headers['transfer-encoding'] === 'chunked') {
      length = rest.indexOf('0\r\n\r\n') + 5;
      if (length === 4) return answers;
    }
    if (rest.length < length) return answers;
    answers.push({ status, headers, body: rest.slice(0, length) });
    rest = rest.slice(length);
  }
}
