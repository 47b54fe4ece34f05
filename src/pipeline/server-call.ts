import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import { remoteAddressOf } from '../lib/forwarded-for.ts';
import { plainAddress } from '../lib/ip-address.ts';
import type { AuthorizationDecision } from './authorization-decision.ts';
import type { CallMessages } from './call-messages.ts';
import type { Connection } from './connection.ts';
import type { Peer, Scope } from './scope.ts';
import type { Span, SpanContext } from './tracing.ts';

/** The pipeline that a call belongs to. */
export interface CallOwner {
  readonly clock: Clock;
}

/** Bits of {@link ServerCall.hints}. */
export const headerHints = {
  /** Any of traceparent, tracestate, baggage, b3, x-b3-*. */
  trace: 1,
  /** `grpc-timeout` or `x-envoy-expected-rq-timeout-ms`. */
  timeout: 2,
  /** Names that only the mesh may assert. */
  reserved: 4,
  /** `transfer-encoding`. */
  coding: 8,
  /** `endpoint-load-metrics-format`. */
  load: 16,
  /** `x-forwarded-client-cert`. */
  clientCert: 32,
} as const;

// One key for the process even if two copies of the package are loaded: middleware that came with
// one copy must find what the other decided.
const key = Symbol.for('inmesh.server-call');
interface Marked {
  [key]?: ServerCall;
}

/**
 * One inbound request on its way through the server pipeline. Filters share plain fields: each
 * names the filter that sets it.
 *
 * Every field is set, so that all calls have one shape; what few ask for is looked up when they do.
 */
export class ServerCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly owner: CallOwner;
  /** Monotonic time of arrival in milliseconds. */
  readonly startedAt: number;
  /** Present when the mesh's own acceptor took the connection. */
  readonly connection: Connection | undefined;
  readonly method: string;
  /** The port that the workload listens on; 0 when unknown. */
  readonly localPort: number;
  /** sanitize: how many proxies before this process are trusted to tell the address of the caller. */
  trustedProxies: number;
  /** sanitize: path as it arrived, without query and fragment. */
  rawPath: string;
  /** sanitize: canonical path without query; what policy, router and logs see. */
  path: string;
  /** sanitize: the one host that the caller named, as written; '' when HTTP/1.0 named none. */
  host: string;
  /** sanitize: target and Host header name different hosts. Refused, but policy speaks first. */
  hostConflict: boolean;
  /** sanitize: which groups of headers the caller sent, see {@link headerHints}; spares look-ups of what is not there. */
  hints: number;
  /** peer: who called, as its certificate proves. */
  peer: Peer | undefined;
  /** jwt: claims of the verified token as policy sees them: lists separated by spaces are lists. */
  claims: Readonly<Record<string, unknown>> | undefined;
  /** jwt: claims of the verified token as they were signed; what the application sees. */
  tokenClaims: Readonly<Record<string, unknown>> | undefined;
  /** jwt: `<iss>/<sub>` of the verified token; Istio's `request.auth.principal`. */
  requestPrincipal: string | undefined;
  /** authz: what was decided, and by which rule; nothing when there are no policies, or none was asked yet. */
  authorization: AuthorizationDecision | undefined;
  /** deadline: when the caller stops waiting, monotonic milliseconds; infinite without one. */
  deadline: number;
  /** trace: where the request is in its trace; nothing where nothing is traced. */
  trace: SpanContext | undefined;
  /** trace: the span of the request, if it is recorded. */
  span: Span | undefined;
  /** metrics: the end of this call will be recorded. */
  observed: boolean;
  /** metrics: counts the messages of a call of gRPC; nothing for others. */
  messages: CallMessages<ServerCall> | undefined;
  /** Envoy's response flag, '' when all went well. */
  flag: string;
  /** handler: what the application and its outbound calls see. */
  scope: Scope | undefined;
  /** handler: the decision is made and the application has the request. */
  handed: boolean;
  /** Runs the application. */
  readonly next: (request: IncomingMessage, response: ServerResponse) => void;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    next: ServerCall['next'],
    owner: CallOwner,
    startedAt: number,
    connection: Connection | undefined,
  ) {
    this.request = request;
    this.response = response;
    this.owner = owner;
    this.startedAt = startedAt;
    this.connection = connection;
    this.method = request.method ?? '';
    this.localPort = connection === undefined ? (request.socket.localPort ?? 0) : connection.localPort;
    this.trustedProxies = 0;
    this.rawPath = '';
    this.path = '';
    this.host = '';
    this.hostConflict = false;
    this.hints = 0;
    this.peer = undefined;
    this.claims = undefined;
    this.tokenClaims = undefined;
    this.requestPrincipal = undefined;
    this.authorization = undefined;
    this.deadline = Number.POSITIVE_INFINITY;
    this.trace = undefined;
    this.span = undefined;
    this.observed = false;
    this.messages = undefined;
    this.flag = '';
    this.scope = undefined;
    this.handed = false;
    this.next = next;
  }

  /** IP address of the peer of the connection, which may be a proxy; nothing once the connection is gone. */
  get sourceAddress(): string | undefined {
    return plainAddress(this.request.socket?.remoteAddress);
  }

  /** IP address that the connection came in on. */
  get destinationAddress(): string | undefined {
    return plainAddress(this.request.socket?.localAddress);
  }

  /** Server name that the TLS client asked for; '' without one. */
  get sni(): string {
    const { servername } = this.request.socket as Partial<TLSSocket>;
    return typeof servername === 'string' ? servername : '';
  }

  /** Of the request, as it is now: names and values in turn, names as they were written. */
  get rawHeaders(): readonly string[] {
    return this.request.rawHeaders;
  }

  /** `grpc-status` that the caller was told; -1: none, which is also that of a call that was cut. */
  get grpcStatus(): number {
    const { grpcStatus } = this.response as { readonly grpcStatus?: number };
    // Of gRPC over the bridge a refusal has it in its head, where an application's is in trailers.
    return grpcStatus ?? Number(this.response.getHeader?.('grpc-status') ?? -1);
  }

  /** IP address of the caller as {@link trustedProxies} tell it; nothing when it cannot be known. */
  get remoteAddress(): string | undefined {
    return remoteAddressOf(this.sourceAddress, this.rawHeaders, this.trustedProxies);
  }
}

/** Makes the call for a request that has just arrived. */
export function createServerCall(
  request: IncomingMessage,
  response: ServerResponse,
  next: ServerCall['next'],
  owner: CallOwner,
  startedAt: number,
  connection: Connection | undefined,
): ServerCall {
  const call = new ServerCall(request, response, next, owner, startedAt, connection);
  (request as Marked)[key] = call;
  return call;
}

/** The call that a request belongs to; nothing before it entered a mesh. */
export function callOf(request: IncomingMessage): ServerCall | undefined {
  return (request as Marked)[key];
}

/** Key of a scope's own property: the call that it belongs to. */
export const scopeCall: unique symbol = Symbol.for('inmesh.scope-call');

/** The call that a scope belongs to; nothing for one that was made by hand. */
export function callOfScope(scope: object): ServerCall | undefined {
  return (scope as { readonly [scopeCall]?: ServerCall })[scopeCall];
}

/** What the terminal of the pipeline answers: one settled promise, never made anew. */
export const passed: Promise<void> = Promise.resolve();
