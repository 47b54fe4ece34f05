import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage, METHODS } from 'node:http';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../lib/clock.ts';
import type { StreamWatch, WatchedStream } from './http2-guard.ts';
import { type Http1Head, toHttp1, toHttp2 } from './http2-headers.ts';

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
const methods: ReadonlySet<string> = new Set(METHODS);
/** The client of the connection in memory reads what the application wrote: no limit but sanity. */
const maxResponseHeaderBytes = 1_048_576;

/** One stream and the request that carries it on. */
interface Carried extends WatchedStream {
  readonly method: string;
  readonly clock: Clock;
  /** The whole response was read from the application. */
  delivered: boolean;
  /** We ended the stream before the client had sent its whole body. */
  cut: boolean;
}

/**
 * Carries one HTTP/2 stream over a connection in memory to the HTTP/1 server: body, trailers,
 * informational responses and aborts in both directions, each side at the pace of the other.
 */
export function carryStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  agent: Agent,
  clock: Clock,
  watch: StreamWatch,
): void {
  // Errors of a stream are the client's doing; 'close' follows and cleans up.
  stream.on('error', ignore);
  const hasBody = !stream.endAfterHeaders;
  const head = toHttp1(headers, rawHeaders, hasBody);
  const { method } = head;
  if (method === 'CONNECT') {
    answer(stream, 405, 'ERR_MESH_METHOD', clock);
    return;
  }
  // node:http would write a lower-case method in upper case, and policy would see another one.
  const request = methods.has(method) ? start(head, agent) : undefined;
  if (request === undefined) {
    answer(stream, 400, 'ERR_MESH_BAD_REQUEST', clock);
    return;
  }
  const carried: Carried = {
    stream,
    request,
    method,
    clock,
    delivered: false,
    cut: false,
    moved: 0,
    pending: 0,
    movedAt: 0,
    told: false,
  };
  watch.add(carried);
  request.on('information', ({ statusCode, rawHeaders: list }) => {
    if (stream.closed || stream.headersSent) return;
    orReset(stream, () => stream.additionalHeaders(toHttp2(list, statusCode)));
  });
  request.on('response', (response) => deliver(carried, response));
  request.on('error', () => {
    // The application cut the connection, or answered without reading the body to its end.
    if (!carried.delivered && !stream.closed) stream.close(NGHTTP2_INTERNAL_ERROR);
  });
  stream.on('close', () => {
    watch.remove(carried);
    if (!carried.delivered || !request.writableFinished) request.destroy();
  });
  if (hasBody) send(carried);
  else request.end();
}

function start({ method, target, headers }: Http1Head, agent: Agent): ClientRequest | undefined {
  try {
    return httpRequest({ agent, method, path: target, headers, maxHeaderSize: maxResponseHeaderBytes });
  } catch {
    // A character that HTTP/1 cannot carry.
    return undefined;
  }
}

function send(carried: Carried): void {
  const { stream, request } = carried;
  stream.on('trailers', (_headers: unknown, _flags: number, rawTrailers: readonly string[]) => {
    const pairs: [string, string][] = [];
    for (let i = 0; i < rawTrailers.length; i += 2) {
      pairs.push([rawTrailers[i] as string, rawTrailers[i + 1] as string]);
    }
    // Without chunks (the caller named a length and announced no trailers) there is no place for them.
    if (request.chunkedEncoding) request.addTrailers(pairs);
  });
  stream.on('end', () => {
    // A stream that was reset ends, too, in Node; half a body must not pass for a whole one.
    if (carried.cut || stream.aborted || stream.destroyed || stream.rstCode !== NGHTTP2_NO_ERROR) request.destroy();
    else request.end();
  });
  // The application may answer before it has the body.
  request.flushHeaders();
  stream.pipe(request, { end: false });
}

function deliver(carried: Carried, response: IncomingMessage): void {
  const { stream, method, clock } = carried;
  response.on('end', () => {
    carried.delivered = true;
  });
  if (stream.closed || stream.destroyed) {
    response.destroy();
    return;
  }
  const status = response.statusCode ?? 500;
  const { headers } = response;
  const empty = method === 'HEAD' || status === 204 || status === 304 || headers['content-length'] === '0';
  const trailers = !empty && headers['transfer-encoding'] !== undefined;
  try {
    stream.respond(toHttp2(response.rawHeaders, status), { endStream: empty, waitForTrailers: trailers });
  } catch {
    // A header that HTTP/2 cannot carry, for example two different content types.
    stream.close(NGHTTP2_INTERNAL_ERROR);
    return;
  }
  // Node sends trailers one turn of the loop later; a reset must not overtake them, nor the response.
  const complete = (): void => clock.afterIo(() => endUnread(carried));
  if (trailers) {
    stream.on('wantTrailers', () => {
      if (orReset(stream, () => stream.sendTrailers(toHttp2(response.rawTrailers)))) complete();
    });
  } else stream.on('finish', complete);
  if (empty) {
    response.resume();
    return;
  }
  response.on('error', () => stream.close(NGHTTP2_INTERNAL_ERROR));
  response.pipe(stream);
}

/**
 * Node throws at what HTTP/2 cannot carry, for example a `TE` that is not `trailers`, and an application hands on
 * what others say. Thrown in a callback of Node it would end the process.
 */
function orReset(stream: ServerHttp2Stream, send: () => void): boolean {
  try {
    send();
    return true;
  } catch {
    if (!stream.closed && !stream.destroyed) stream.close(NGHTTP2_INTERNAL_ERROR);
    return false;
  }
}

/** RFC 9113 section 8.1: the response is complete, and what is left of the request is not wanted. */
function endUnread(carried: Pick<Carried, 'stream' | 'cut'>): void {
  const { stream } = carried;
  if (stream.endAfterHeaders || stream.readableEnded || stream.closed || stream.destroyed) return;
  carried.cut = true;
  stream.close(NGHTTP2_NO_ERROR);
}

/** Answers without the application. */
function answer(stream: ServerHttp2Stream, status: number, code: string, clock: Clock): void {
  // Reset in the same piece of bytes that opened it: it is closed before anybody is told of it, and takes no answer.
  if (stream.closed || stream.destroyed) return;
  stream.on('finish', () => clock.afterIo(() => endUnread({ stream, cut: false })));
  stream.respond({ ':status': status, 'x-inmesh-error': code, 'content-length': '0' }, { endStream: true });
}

function ignore(): void {}
