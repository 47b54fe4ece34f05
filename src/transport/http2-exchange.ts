import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';
import { Readable } from 'node:stream';
import { type Dispatcher, errors } from 'undici';
import { MeshError } from '../errors.ts';
import type { Deadline, DeadlineClass, DeadlineOwner } from '../lib/deadlines.ts';
import type { Connection, Passenger } from './connection.ts';
import { pump, type WritableBody, writableBody } from './http2-client-body.ts';
import { requestHead } from './http2-client-head.ts';
import { kindOfEnd, StreamFailure } from './stream-failure.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** The connection as one exchange needs it. */
export interface ExchangeCarrier {
  readonly authority: string;
  readonly secure: boolean;
  /** Has the connection carried requests before this one? */
  readonly used: boolean;
  deadlines(timeoutMs: number): DeadlineClass;
  /** Opens a stream. Throws when the connection takes none any more. */
  openStream(headers: ReturnType<typeof requestHead>, endStream: boolean): ClientHttp2Stream;
  /** Was this stream left out by the GOAWAY of the server? */
  leftOut(stream: ClientHttp2Stream): boolean;
  /** Is the connection at its end? */
  readonly broken: boolean;
  /** Why the connection broke, if that is known. */
  readonly failure: Error | undefined;
  /** The exchange needs its stream no longer. */
  ended(): void;
  /** Nothing came back for this one in time: is anybody there? */
  doubt(): void;
}

type Headers = Record<string, string | string[] | undefined>;

const key = Symbol('exchange');
interface OwnStream extends ClientHttp2Stream {
  [key]?: Exchange;
}

/** undici's defaults for both timeouts, milliseconds. */
const defaultTimeoutMs = 300_000;

/** One request and its response on one stream, in the shapes of undici's handlers. */
export class Exchange implements Dispatcher.DispatchController, Connection, DeadlineOwner {
  rawHeaders: string[] | null;
  rawTrailers: string[] | null;
  reason: Error | null;

  readonly #carrier: ExchangeCarrier;
  readonly #options: Dispatcher.DispatchOptions;
  readonly #handler: Passenger;
  #stream: OwnStream | undefined;
  #body: WritableBody | undefined;
  #stopBody: (() => void) | undefined;
  #deadline: Deadline | undefined;
  #responded: boolean;
  #paused: boolean;
  #done: boolean;
  #left: boolean;
  #trailers: Headers | undefined;
  #complete: boolean;
  #cutOff: boolean;

  constructor(carrier: ExchangeCarrier, options: Dispatcher.DispatchOptions, handler: Passenger) {
    this.rawHeaders = null;
    this.rawTrailers = null;
    this.reason = null;
    this.#carrier = carrier;
    this.#options = options;
    this.#handler = handler;
    this.#stream = undefined;
    this.#body = undefined;
    this.#stopBody = undefined;
    this.#deadline = undefined;
    this.#responded = false;
    this.#paused = false;
    this.#done = false;
    this.#left = false;
    this.#trailers = undefined;
    this.#complete = false;
    this.#cutOff = false;
  }

  // ---- the pool's side

  start(): void {
    const handler = this.#handler;
    handler.connection = this;
    try {
      handler.onRequestStart?.(this, null);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (this.#done) return;
    try {
      this.#send();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const late = code === 'ERR_HTTP2_GOAWAY_SESSION' || code === 'ERR_HTTP2_INVALID_SESSION';
      this.#fail(late ? new StreamFailure('unsent', 'the connection takes no more requests', error) : (error as Error));
    }
  }

  // ---- Connection: what a try tells

  begin(): boolean {
    return this.#carrier.used;
  }

  end(): void {
    if (this.#left) return;
    this.#left = true;
    this.#carrier.ended();
  }

  // ---- undici's controller

  get aborted(): boolean {
    return this.reason !== null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  abort(reason?: Error | null): void {
    if (this.#done) return;
    this.reason = reason ?? new errors.RequestAbortedError();
    // Whoever waited in vain may not be the only one.
    if (!this.#responded && this.#stream !== undefined && isTimeout(this.reason)) this.#carrier.doubt();
    this.#fail(this.reason);
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#stream?.pause();
    // The time in which nothing comes because nobody wants it does not count.
    if (this.#responded) this.#deadline?.cancel();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#responded && !this.#done) this.#watch(this.#options.bodyTimeout);
    this.#stream?.resume();
  }

  // ---- time

  deadlineExpired(): void {
    const ms = (this.#responded ? this.#options.bodyTimeout : this.#options.headersTimeout) ?? defaultTimeoutMs;
    this.#carrier.doubt();
    this.#fail(new StreamFailure('timeout', `nothing arrived for ${ms} ms`));
  }

  #watch(timeoutMs: number | null | undefined): void {
    this.#deadline?.cancel();
    const ms = timeoutMs ?? defaultTimeoutMs;
    this.#deadline = ms > 0 ? this.#carrier.deadlines(ms).start(this) : undefined;
  }

  // ---- sending

  #send(): void {
    const options = this.#options;
    const body = writableBody(options.body);
    this.#body = body;
    const head = requestHead(options, this.#carrier.authority, this.#carrier.secure);
    // gRPC delimits its messages itself; its clients name no length.
    if (this.#handler.grpc === undefined) sizeBody(head, body, options.method);
    if (options.expectContinue === true && body.kind !== 'none') head['expect'] = '100-continue';
    if (this.#handler.grpc?.secure === true && !this.#carrier.secure) throw plaintext();
    const stream: OwnStream = this.#carrier.openStream(head, body.kind === 'none');
    this.#stream = stream;
    stream[key] = this;
    stream.push = pushWatched;
    stream.on('response', onResponse);
    stream.on('headers', onInformation);
    stream.on('trailers', onTrailers);
    stream.on('data', onData);
    stream.on('end', onEnd);
    stream.on('error', onError);
    stream.on('close', onClose);
    if (this.#paused) stream.pause();
    this.#watch(options.headersTimeout);
    if (head['expect'] === undefined) this.sendBody();
    else stream.once('continue', onContinue);
  }

  sendBody(): void {
    const body = this.#body as WritableBody;
    const stream = this.#stream as OwnStream;
    const handler = this.#handler;
    if (body.kind === 'whole') {
      stream.end(body.bytes);
      handler.onBodySent?.(body.bytes);
    } else if (body.kind === 'pieces') {
      this.#stopBody = pump(body.pieces, stream, {
        sent: (chunk) => handler.onBodySent?.(chunk),
        done: () => handler.onRequestSent?.(),
        failed: (error) => this.#fail(error),
      });
      return;
    }
    handler.onRequestSent?.();
  }

  // ---- receiving

  informed(headers: IncomingHttpHeaders, raw: readonly string[]): void {
    if (this.#done) return;
    const status = takeStatus(headers);
    // 100 is for us.
    if (status === 100) return;
    this.rawHeaders = withoutPseudo(raw);
    this.#handler.onResponseStart?.(this, status, headers as never, '');
  }

  responded(headers: IncomingHttpHeaders, raw: readonly string[]): void {
    if (this.#done) return;
    this.#responded = true;
    if (this.#paused) this.#deadline?.cancel();
    else this.#watch(this.#options.bodyTimeout);
    this.rawHeaders = withoutPseudo(raw);
    const handler = this.#handler;
    handler.onResponseStarted?.();
    try {
      handler.onResponseStart?.(this, takeStatus(headers), headers as never, '');
    } catch (error) {
      this.abort(error as Error);
    }
  }

  received(chunk: Buffer): void {
    if (this.#done) return;
    this.#watch(this.#options.bodyTimeout);
    this.#handler.onResponseData?.(this, chunk);
  }

  trailed(headers: IncomingHttpHeaders, raw: readonly string[]): void {
    this.#trailers = headers;
    this.rawTrailers = [...raw];
  }

  /**
   * The end of the body is pushed: because it is complete, or because its stream was closed. The latter
   * says nothing after the former, which a body that nobody reads yet has seen long before it ends.
   */
  bodyEnds(closed: boolean): void {
    if (!closed) this.#complete = true;
    else if (!this.#complete) this.#cutOff = true;
  }

  ended(): void {
    if (this.#done) return;
    const stream = this.#stream as OwnStream;
    if (!this.#responded || this.#cutOff || stream.rstCode !== NGHTTP2_NO_ERROR) {
      this.#fail(this.#failureOf(undefined));
      return;
    }
    this.#finish();
    // The whole response is there; what is left of the request nobody wants (RFC 9113 section 8.1).
    if (!stream.writableEnded) stream.close(NGHTTP2_NO_ERROR);
    this.#handler.onResponseEnd?.(this, (this.#trailers ?? noTrailers) as never);
  }

  failed(error: Error | undefined): void {
    if (!this.#done) this.#fail(this.#failureOf(error));
  }

  #failureOf(error: Error | undefined): StreamFailure {
    const stream = this.#stream as OwnStream;
    const { failure } = this.#carrier;
    if (!this.#responded && this.#carrier.leftOut(stream)) {
      return new StreamFailure('unsent', 'the server left the request out when it ended the connection', error);
    }
    if (failure !== undefined) return new StreamFailure(kindOfEnd(failure), failure.message, failure);
    // Streams hear of the end of their connection before the connection does.
    const ofStream = error === undefined || (error as NodeJS.ErrnoException).code === 'ERR_HTTP2_STREAM_ERROR';
    if (!ofStream || this.#carrier.broken) {
      return new StreamFailure(kindOfEnd(error), error?.message ?? 'other side closed', error);
    }
    const code = stream.rstCode ?? NGHTTP2_NO_ERROR;
    if (code === NGHTTP2_REFUSED_STREAM && !this.#responded) {
      return new StreamFailure('refused', 'the server refused the stream', error);
    }
    const kind = code === NGHTTP2_PROTOCOL_ERROR ? 'protocol' : 'reset';
    return new StreamFailure(kind, `the stream was reset with code ${code}`, error, code);
  }

  #fail(error: Error): void {
    if (this.#done) return;
    this.#finish();
    const stream = this.#stream;
    if (stream !== undefined && !stream.destroyed) {
      stream.close(NGHTTP2_CANCEL);
      stream.destroy();
    }
    // Handlers that do not tell when they are done have no place to give back later.
    this.#handler.onResponseError?.(this, error);
    this.end();
  }

  #finish(): void {
    this.#done = true;
    this.#deadline?.cancel();
    this.#stopBody?.();
    const { body } = this.#options;
    if (this.#stopBody === undefined && body instanceof Readable && this.reason !== null) body.destroy();
  }
}

const noTrailers: Headers = {};

const plaintext = (): MeshError =>
  new MeshError('ERR_MESH_NOT_SECURE', 'a call with credentials may not go over a connection in plaintext');

const timeouts: ReadonlySet<unknown> = new Set(['ERR_MESH_TRY_TIMEOUT', 'ERR_MESH_TIMEOUT']);

function isTimeout(reason: Error): boolean {
  return timeouts.has((reason as NodeJS.ErrnoException).code);
}

function sizeBody(head: ReturnType<typeof requestHead>, body: WritableBody, method: string): void {
  if (body.kind === 'pieces') {
    if (body.contentType !== undefined) head['content-type'] ??= body.contentType;
    if (body.length !== undefined) head['content-length'] ??= String(body.length);
    return;
  }
  const length = body.kind === 'none' ? 0 : body.bytes.byteLength;
  const given = head['content-length'];
  if (given !== undefined && Number(given) !== length) throw new errors.RequestContentLengthMismatchError();
  if (body.kind === 'whole') head['content-length'] = String(length);
  // RFC 9110 section 8.6: an absent body is worth saying where one is expected.
  else if (method === 'POST' || method === 'PUT' || method === 'PATCH') head['content-length'] = '0';
}

function takeStatus(headers: IncomingHttpHeaders & { [':status']?: unknown }): number {
  const status = Number(headers[':status']);
  delete headers[':status'];
  return status;
}

function withoutPseudo(raw: readonly string[]): string[] {
  let from = 0;
  while (from < raw.length && (raw[from] as string).charCodeAt(0) === 0x3a) from += 2;
  return raw.slice(from);
}

function onResponse(this: OwnStream, headers: IncomingHttpHeaders, _flags: number, raw: readonly string[] = []): void {
  this[key]?.responded(headers, raw);
}

function onInformation(
  this: OwnStream,
  headers: IncomingHttpHeaders,
  _flags: number,
  raw: readonly string[] = [],
): void {
  this[key]?.informed(headers, raw);
}

function onTrailers(this: OwnStream, headers: IncomingHttpHeaders, _flags: number, raw: readonly string[] = []): void {
  this[key]?.trailed(headers, raw);
}

function onContinue(this: OwnStream): void {
  this[key]?.sendBody();
}

function onData(this: OwnStream, chunk: Buffer): void {
  this[key]?.received(chunk);
}

function onEnd(this: OwnStream): void {
  this[key]?.ended();
}

function onError(this: OwnStream, error: Error): void {
  this[key]?.failed(error);
}

function onClose(this: OwnStream): void {
  this[key]?.failed(undefined);
}

/**
 * Node ends a stream that the server reset with NO_ERROR as if its body were complete. The end that
 * the server did send is pushed while the stream is still open, the other one when it is closed.
 */
function pushWatched(this: OwnStream, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null) this[key]?.bodyEnds(this.closed);
  return Readable.prototype.push.call(this, chunk, encoding);
}
