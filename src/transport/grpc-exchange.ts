import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { grpcMessage, grpcStatusOf } from '../lib/grpc-answer.ts';
import { setConnection } from '../pipeline/connection.ts';
import { hopByHop } from './http2-headers.ts';
import { type Carrier, ServedConnection } from './served-connection.ts';

const { NGHTTP2_NO_ERROR } = constants;

type HeaderValue = number | string | readonly string[];
type Respond = ServerHttp2Stream['respond'];

/**
 * A call of gRPC while the mesh decides about it: what the filters of the server ask of a request of
 * HTTP, over the untouched stream. The headers that are left when all have spoken are those that
 * the application is given.
 */
export class GrpcRequest {
  readonly stream: ServerHttp2Stream;
  /** As Node made them, pseudo-headers included. Filters edit them. */
  readonly headers: IncomingHttpHeaders;
  /** As requests of HTTP/1 have them: without pseudo-headers, with Host, cookies joined. */
  readonly rawHeaders: string[];
  readonly socket: Socket;
  readonly method: string;
  url: string;
  readonly httpVersion: '2.0';
  readonly httpVersionMajor: 2;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[], socket: Socket) {
    this.stream = stream;
    this.headers = headers;
    this.rawHeaders = rawHeadersOf(headers[':authority'], raw);
    this.socket = socket;
    this.method = headers[':method'] ?? '';
    this.url = headers[':path'] ?? '';
    this.httpVersion = '2.0';
    this.httpVersionMajor = 2;
  }

  /** The whole body has been received. */
  get complete(): boolean {
    return this.stream.endAfterHeaders || this.stream.readableEnded;
  }

  /** Drops what still comes. */
  resume(): this {
    this.stream.resume();
    return this;
  }
}

/** Host first, as a bridge to HTTP/1 writes it; a Host beside `:authority` stays, for the sanitizer to compare. */
function rawHeadersOf(authority: string | undefined, raw: readonly string[]): string[] {
  const list: string[] = [];
  let host = false;
  let cookieAt = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    if (name.charCodeAt(0) === 0x3a) continue;
    if (name === 'host') host = true;
    if (name === 'cookie') {
      // RFC 9113 section 8.2.3.
      if (cookieAt > 0) {
        list[cookieAt] += `; ${value}`;
        continue;
      }
      cookieAt = list.length + 1;
    }
    list.push(name, value);
  }
  if (!host && authority !== undefined) list.push('host', authority);
  return list;
}

/**
 * The other half: what filters write into a response goes along with that of the application, and a
 * refusal becomes the head of a gRPC response and nothing else, whatever it would be for HTTP.
 */
export class GrpcResponse {
  shouldKeepAlive: boolean;
  readonly #stream: ServerHttp2Stream;
  readonly #clock: Clock;
  #status: number;
  #headers: Record<string, HeaderValue> | undefined;
  #options: Parameters<Respond>[1];
  #handed: boolean;

  constructor(stream: ServerHttp2Stream, clock: Clock) {
    this.shouldKeepAlive = true;
    this.#stream = stream;
    this.#clock = clock;
    this.#status = 200;
    this.#headers = undefined;
    this.#options = undefined;
    this.#handed = false;
  }

  get headersSent(): boolean {
    return this.#stream.headersSent;
  }

  get statusCode(): number {
    const sent = this.#stream.sentHeaders as OutgoingHttpHeaders | undefined;
    return sent === undefined ? this.#status : Number(sent[':status']);
  }

  set statusCode(status: number) {
    this.#status = status;
  }

  /** What the call has ended with; -1 before, and when it was cut. */
  get grpcStatus(): number {
    const { sentHeaders, sentTrailers } = this.#stream as Partial<ServerHttp2Stream>;
    return Number(sentTrailers?.['grpc-status'] ?? sentHeaders?.['grpc-status'] ?? -1);
  }

  /** The caller has been told how it ended. */
  get writableFinished(): boolean {
    return this.#stream.sentTrailers !== undefined || (this.#stream.headersSent && this.#stream.writableFinished);
  }

  get writableEnded(): boolean {
    return this.#stream.writableEnded;
  }

  get closed(): boolean {
    return this.#stream.closed;
  }

  get destroyed(): boolean {
    return this.#stream.destroyed;
  }

  on(event: string, listener: () => void): this {
    this.#stream.on(event, listener);
    return this;
  }

  once(event: string, listener: () => void): this {
    this.#stream.once(event, listener);
    return this;
  }

  prependListener(event: string, listener: () => void): this {
    this.#stream.prependListener(event, listener);
    return this;
  }

  off(event: string, listener: () => void): this {
    this.#stream.off(event, listener);
    return this;
  }

  getHeader(name: string): HeaderValue | undefined {
    const lower = name.toLowerCase();
    return this.#headers?.[lower] ?? (this.#stream.sentHeaders as OutgoingHttpHeaders | undefined)?.[lower];
  }

  hasHeader(name: string): boolean {
    return this.getHeader(name) !== undefined;
  }

  getHeaderNames(): string[] {
    return this.#headers === undefined ? [] : Object.keys(this.#headers);
  }

  /** What is about one connection of HTTP/1.1 is left out: with it HTTP/2 sends nothing at all. */
  setHeader(name: string, value: HeaderValue): this {
    if (hopByHop.has(name.toLowerCase())) return this;
    this.#headers ??= Object.create(null) as Record<string, HeaderValue>;
    this.#headers[name.toLowerCase()] = value;
    if (this.#handed) this.#joinResponse();
    return this;
  }

  appendHeader(name: string, value: string | readonly string[]): this {
    const before = this.getHeader(name);
    if (before === undefined) return this.setHeader(name, value);
    return this.setHeader(name, [before, value].flat().map(String));
  }

  removeHeader(name: string): void {
    if (this.#headers !== undefined) delete this.#headers[name.toLowerCase()];
  }

  /** There is nobody who waits for it: gRPC has no `100 Continue`. */
  writeContinue(): void {}

  /** The head of the response, whoever gives it; filters put themselves in front. */
  writeHead(_status: number): this {
    this.#stream.respond(this.#headers as OutgoingHttpHeaders, this.#options);
    return this;
  }

  /** Answers in place of the application. A body is nothing that clients of gRPC read. */
  end(body?: Uint8Array | string): this {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed || stream.headersSent) return this;
    if (this.getHeader('grpc-status') === undefined) {
      this.setHeader('grpc-status', String(grpcStatusOf(this.#status)));
      this.setHeader('grpc-message', grpcMessage(body === undefined ? '' : Buffer.from(body).toString()));
    }
    this.removeHeader('content-length');
    this.setHeader('content-type', 'application/grpc');
    this.setHeader(':status', 200);
    this.#options = { endStream: true };
    stream.once('finish', () => this.#clock.afterIo(() => endUnread(stream)));
    try {
      this.writeHead(200);
    } catch {
      // A header that HTTP/2 cannot carry, of somebody who was asked: a refusal without words is one.
      this.destroy();
    }
    return this;
  }

  destroy(): this {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    return this;
  }

  /** From now on the application answers. */
  handOver(): void {
    this.#handed = true;
    if (this.#headers !== undefined || Object.hasOwn(this, 'writeHead')) this.#joinResponse();
  }

  /** Where both have something to say, the application's word counts, as for HTTP. */
  #joinResponse(): void {
    const stream = this.#stream;
    if (stream.headersSent || Object.hasOwn(stream, 'respond')) return;
    stream.respond = ((headers: OutgoingHttpHeaders = {}, options) => {
      delete (stream as Partial<ServerHttp2Stream>).respond;
      this.#handed = false;
      this.#options = options;
      for (const [name, value] of Object.entries(headers)) {
        if (value !== undefined) this.setHeader(name, value as HeaderValue);
      }
      this.writeHead(200);
    }) as Respond;
  }
}

/** RFC 9113 section 8.1: the response is complete, and what is left of the request is not wanted. */
export function endUnread(stream: ServerHttp2Stream): void {
  if (!isReadToEnd(stream)) stream.close(NGHTTP2_NO_ERROR);
}

/** Nothing more comes. */
export function isReadToEnd(stream: ServerHttp2Stream): boolean {
  return stream.endAfterHeaders || stream.readableEnded || stream.closed || stream.destroyed;
}

/** Takes the calls of gRPC of one connection to the pipeline, which knows them as requests. */
export function grpcAcceptor(
  socket: Socket,
  carrier: Carrier,
  clock: Clock,
  onGrpc: (request: IncomingMessage, response: ServerResponse) => void,
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]) => void {
  setConnection(socket, new ServedConnection(carrier));
  return (stream, headers, raw) => {
    // Errors of a stream are the client's doing; 'close' follows and cleans up.
    stream.on('error', ignore);
    const request: unknown = new GrpcRequest(stream, headers, raw, socket);
    const response: unknown = new GrpcResponse(stream, clock);
    onGrpc(request as IncomingMessage, response as ServerResponse);
  };
}

function ignore(): void {}
