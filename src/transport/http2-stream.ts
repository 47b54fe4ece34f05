import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage, METHODS } from 'node:http';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../lib/clock.ts';
import { type Http1Head, toHttp1, toHttp2 } from './http2-headers.ts';

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;
const methods: ReadonlySet<string> = new Set(METHODS);

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
): void {
  // Errors of a stream are the client's doing; 'close' follows and cleans up.
  stream.on('error', ignore);
  const hasBody = !stream.endAfterHeaders;
  const head = toHttp1(headers, rawHeaders, hasBody);
  // node:http would write a lower-case method in upper case, and policy would see another one.
  if (!methods.has(head.method) || head.method === 'CONNECT') {
    answer(
      stream,
      head.method === 'CONNECT' ? 405 : 400,
      head.method === 'CONNECT' ? 'ERR_MESH_METHOD' : 'ERR_MESH_BAD_REQUEST',
    );
    return;
  }
  const request = start(head, agent);
  if (request === undefined) {
    answer(stream, 400, 'ERR_MESH_BAD_REQUEST');
    return;
  }
  let delivered = false;
  request.on('information', ({ statusCode, rawHeaders: list }) => {
    if (!stream.closed && !stream.headersSent) stream.additionalHeaders(toHttp2(list, statusCode));
  });
  request.on('response', (response) => {
    response.on('end', () => {
      delivered = true;
    });
    deliver(stream, head.method, response, clock);
  });
  request.on('error', () => {
    // The application cut the connection, or answered without reading the body to its end.
    if (!delivered && !stream.closed) stream.close(NGHTTP2_INTERNAL_ERROR);
  });
  stream.on('close', () => {
    if (!delivered || !request.writableFinished) request.destroy();
  });
  if (hasBody) send(stream, request);
  else request.end();
}

function start({ method, target, headers }: Http1Head, agent: Agent): ClientRequest | undefined {
  try {
    return httpRequest({ agent, method, path: target, headers, maxHeaderSize: 1_048_576 });
  } catch {
    // A character that HTTP/1 cannot carry.
    return undefined;
  }
}

function send(stream: ServerHttp2Stream, request: ClientRequest): void {
  stream.on('trailers', (_headers: unknown, _flags: number, rawTrailers: readonly string[]) => {
    const pairs: [string, string][] = [];
    for (let i = 0; i < rawTrailers.length; i += 2)
      pairs.push([rawTrailers[i] as string, rawTrailers[i + 1] as string]);
    // Without chunks (the caller named a length and announced no trailers) there is no place for them.
    if (request.useChunkedEncodingByDefault || request.chunkedEncoding) request.addTrailers(pairs);
  });
  stream.on('end', () => request.end());
  // The application may answer before it has the body.
  request.flushHeaders();
  stream.pipe(request, { end: false });
}

function deliver(stream: ServerHttp2Stream, method: string, response: IncomingMessage, clock: Clock): void {
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
  // RFC 9113 section 8.1: the response is complete, the rest of the request is not wanted.
  const complete = (): void => {
    if (!stream.readableEnded && !stream.closed) stream.close(NGHTTP2_NO_ERROR);
  };
  if (trailers) {
    stream.on('wantTrailers', () => {
      stream.sendTrailers(toHttp2(response.rawTrailers));
      // Node sends them one turn of the loop later.
      clock.afterIo(complete);
    });
  } else {
    stream.on('finish', complete);
  }
  if (empty) {
    response.resume();
    return;
  }
  response.on('error', () => stream.close(NGHTTP2_INTERNAL_ERROR));
  response.pipe(stream);
}

function answer(stream: ServerHttp2Stream, status: number, code: string): void {
  stream.respond({ ':status': status, 'x-inmesh-error': code, 'content-length': '0' }, { endStream: true });
  if (!stream.endAfterHeaders) stream.close(NGHTTP2_REFUSED_STREAM);
}

function ignore(): void {}
