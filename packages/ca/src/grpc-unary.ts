import { constants, type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Clock } from 'inmesh/identity';

/** One call: a single message came, a single message goes. */
export interface UnaryCall {
  readonly message: Uint8Array;
  /** Metadata of the call, names in lower case. */
  readonly headers: IncomingHttpHeaders;
  /** The connection, whose client may have presented a certificate. */
  readonly socket: TLSSocket;
}

/** gRPC status codes, as far as they are used here. */
export const grpcStatus = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** How a call ends. */
export type UnaryAnswer =
  | { readonly message: Uint8Array }
  | { readonly status: (typeof grpcStatus)[keyof typeof grpcStatus]; readonly reason: string };

/** What serves the connections of {@link acceptUnary}. */
export interface UnaryService {
  /** By path: `/package.Service/Method`. They do not reject. */
  readonly methods: ReadonlyMap<string, (call: UnaryCall) => Promise<UnaryAnswer>>;
  /** Whether a call may begin; a string says why not. */
  admit(socket: TLSSocket): string | undefined;
  readonly maxMessageBytes: number;
  /** From the head of a request to its answer, and from there until that was taken, milliseconds. */
  readonly callTimeoutMs: number;
  /** How long a connection without calls stays open, milliseconds. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** A connection that speaks gRPC. */
export interface UnaryConnection {
  /** Lets running calls finish, then closes. */
  close(): void;
}

/**
 * Serves unary gRPC calls on a connection that agreed on HTTP/2 (gRPC over HTTP/2: PROTOCOL-HTTP2).
 * Everything a stranger can make last has an end: a connection without calls, a call whose message
 * does not arrive, one that is not answered. No compression: a message that is asks for
 * `identity`.
 */
export function acceptUnary(socket: TLSSocket, service: UnaryService): UnaryConnection {
  const { clock, idleMs } = service;
  const session = performServerHandshake(socket, {
    maxSessionMemory: 1,
    maxHeaderListPairs: 64,
    settings: { maxConcurrentStreams: 16, maxHeaderListSize: 32_768, enablePush: false },
  });
  let calls = 0;
  let stopWaiting = (): void => {};
  const close = (): void => {
    if (!session.closed && !session.destroyed) session.close();
  };
  const waitForCalls = (): void => {
    // A client that does not even answer the GOAWAY is cut off.
    stopWaiting = clock.after(idleMs, () => {
      close();
      stopWaiting = clock.after(idleMs, () => session.destroy());
    });
  };
  session.on('stream', (stream, headers) => {
    if (calls++ === 0) stopWaiting();
    stream.on('close', () => {
      if (--calls === 0 && !session.destroyed) waitForCalls();
    });
    serveCall(stream, headers, socket, service);
  });
  // What the other side does wrong ends its session; 'close' follows.
  session.on('error', () => {});
  session.on('close', () => stopWaiting());
  waitForCalls();
  return { close };
}

function serveCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  socket: TLSSocket,
  service: UnaryService,
): void {
  let answered = false;
  const late = `no complete request within ${service.callTimeoutMs} ms`;
  /** Runs also when there is an answer: a client that does not take it must not hold its connection for ever. */
  const wait = (): (() => void) =>
    service.clock.after(service.callTimeoutMs, () => {
      if (answered) stream.close(constants.NGHTTP2_CANCEL);
      else finish({ status: grpcStatus.deadlineExceeded, reason: late });
    });
  let stopWaiting = wait();
  stream.on('error', () => {});
  stream.on('close', () => stopWaiting());
  const finish = (answer: UnaryAnswer): void => {
    if (answered || stream.destroyed || stream.closed) return;
    answered = true;
    stopWaiting();
    stopWaiting = wait();
    send(stream, answer, service.clock);
  };

  // Before anything else is said: what leads nowhere counts as well.
  const notNow = service.admit(socket);
  if (notNow !== undefined) {
    finish({ status: grpcStatus.resourceExhausted, reason: notNow });
    return;
  }
  const method = service.methods.get(headers[':path'] ?? '');
  const refused = whyRefused(headers, method !== undefined);
  if (typeof refused === 'number') {
    answered = true;
    stopWaiting();
    stream.respond({ ':status': refused }, { endStream: true });
    endReading(stream, service.clock);
    return;
  }
  if (refused !== undefined || method === undefined) {
    finish({ status: grpcStatus.unimplemented, reason: refused ?? 'unknown method' });
    return;
  }
  readMessage(stream, service.maxMessageBytes, (message) => {
    // The rest of a request that was refused is thrown away, whatever it would make of the beginning.
    if (answered) return;
    if (!('message' in message)) finish(message);
    else void method({ message: message.message, headers, socket }).then(finish);
  });
}

/** An HTTP status for what is no gRPC, a text for gRPC that is not served. */
function whyRefused(headers: IncomingHttpHeaders, known: boolean): number | string | undefined {
  const type = headers['content-type'] ?? '';
  // PROTOCOL-HTTP2: whatever does not begin so is answered 415.
  if (!type.startsWith('application/grpc')) return constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE;
  if (headers[':method'] !== 'POST') return constants.HTTP_STATUS_METHOD_NOT_ALLOWED;
  if (!known) return 'unknown service or method';
  if (type !== 'application/grpc' && type !== 'application/grpc+proto') return 'only protobuf is spoken here';
  const encoding = headers['grpc-encoding'];
  return encoding === undefined || encoding === 'identity' ? undefined : 'compressed messages are not read here';
}

const frameHead = 5;

function readMessage(stream: ServerHttp2Stream, maxBytes: number, done: (answer: UnaryAnswer) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxBytes + frameHead) chunks.push(chunk);
    else done({ status: grpcStatus.resourceExhausted, reason: `a message of more than ${maxBytes} bytes` });
  });
  stream.on('end', () => done(unframe(Buffer.concat(chunks))));
}

/** Length-Prefixed-Message: a flag for compression, four bytes of length, the message; exactly one. */
function unframe(bytes: Buffer): UnaryAnswer {
  if (bytes.length === 0) return { status: grpcStatus.unimplemented, reason: 'one message is expected, none came' };
  if (bytes.length < frameHead) return { status: grpcStatus.internal, reason: 'the message is cut short' };
  if (bytes[0] !== 0) return { status: grpcStatus.unimplemented, reason: 'compressed messages are not read here' };
  const end = frameHead + bytes.readUInt32BE(1);
  if (end > bytes.length) return { status: grpcStatus.internal, reason: 'the message is cut short' };
  if (end < bytes.length) return { status: grpcStatus.unimplemented, reason: 'one message is expected, more came' };
  return { message: bytes.subarray(frameHead) };
}

function send(stream: ServerHttp2Stream, answer: UnaryAnswer, clock: Clock): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' };
  if ('message' in answer) {
    stream.respond(head, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(grpcStatus.ok) }));
    const prefix = Buffer.alloc(frameHead);
    prefix.writeUInt32BE(answer.message.length, 1);
    stream.end(Buffer.concat([prefix, answer.message]));
    return;
  }
  const { reason, status } = answer;
  const trailers = { 'grpc-status': String(status), 'grpc-message': encodeMessage(reason) };
  stream.respond({ ...head, ...trailers, 'grpc-accept-encoding': 'identity' }, { endStream: true });
  endReading(stream, clock);
}

/** How long the rest of a request that is refused may still come, and be thrown away, milliseconds. */
const lingerMs = 1_000;

/**
 * What is left of a request that was answered is not wanted. Its stream is not reset at once: newer
 * releases of Node then send the reset and not the answer.
 */
function endReading(stream: ServerHttp2Stream, clock: Clock): void {
  stream.resume();
  stream.on(
    'close',
    clock.after(lingerMs, () => stream.close(constants.NGHTTP2_NO_ERROR)),
  );
}

/** Status-Message: percent-encoded UTF-8 outside of printable ASCII. */
function encodeMessage(text: string): string {
  return Buffer.from(text.slice(0, 500), 'utf8').reduce(
    (out, byte) =>
      out +
      (byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`),
    '',
  );
}
