import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { connectionOf } from '../pipeline/connection.ts';
import { isQueued } from '../pipeline/queued.ts';
import type { AcceptorLimits } from './limits.ts';
import { meshServerOptions } from './server-options.ts';

/** What the HTTP/1 server tells the acceptor. */
export interface Http1Hooks {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  /** Bytes that are no acceptable request; they were answered and the connection ended. */
  onProtocolError(error: MeshError): void;
}

/**
 * The HTTP/1 server behind the acceptor: it never listens, connections are given to it with
 * `emit('connection', socket)`.
 */
export function createHttp1Server(limits: AcceptorLimits, hooks: Http1Hooks, clock: Clock): Server {
  const server = createServer({
    ...meshServerOptions(limits),
    // The pipeline refuses a missing Host itself, so that the refusal is counted.
    requireHostHeader: false,
  });
  // Connections of which nobody takes the response; the times of bodies and of idleness go before it.
  server.timeout = limits.responseIdleMs;
  const accept = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connectionOf(request.socket);
    if (connection !== undefined) {
      if (isBehindTheLast(request, connection.response)) return;
      connection.request = request;
      connection.response = response;
    }
    const { headers } = request;
    if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
      request.socket.setTimeout(limits.bodyIdleMs);
    }
    hooks.onRequest(request, response);
  };
  server.on('request', accept);
  // `100 Continue` is for the pipeline to say, after policy has spoken.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const connection = connectionOf(request.socket);
    if (connection !== undefined) connection.awaitsContinue = response;
    accept(request, response);
  });
  const end = createEnding(clock);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => refuse(error, socket, hooks, end));
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    // Nobody reads from it any more; its end would not be noticed.
    socket.on('error', ignore).resume();
    const failure = new MeshError('ERR_MESH_METHOD', 'CONNECT asks for a proxy, and this is none');
    hooks.onProtocolError(failure);
    end.say(socket, 405, 'Method Not Allowed', failure);
  });
  server.on('timeout', (socket) => onIdle(socket, limits, end));
  // Node starts its checks of header and request timeouts only for servers that listen.
  server.emit('listening');
  return server;
}

/**
 * Sent behind one whose answer is the last of its connection (RFC 9112 section 9.6): nobody would get this one's. An
 * application may have said so when the head of its response was out already: then Node does not know of it.
 */
function isBehindTheLast({ socket }: IncomingMessage, before: ServerResponse | undefined): boolean {
  if (before?.shouldKeepAlive !== false) return false;
  // Done with, and not in the line behind others: has the connection ended with it? `writableFinished` alone says nothing,
  // for what is written at once is that while requests behind it are still read (Node 22).
  if (before.socket === null && before.writableFinished) return socket.writableEnded;
  // Once, however many requests are behind it.
  if (!ending.has(before)) {
    ending.add(before);
    before.once('finish', () => socket.destroySoon());
  }
  return true;
}

const ending = new WeakSet<ServerResponse>();

interface Refusal {
  readonly status: number;
  readonly reason: string;
}

const refusals: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: { status: 431, reason: 'Request Header Fields Too Large' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, reason: 'Payload Too Large' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, reason: 'Request Timeout' },
};
const badRequest: Refusal = { status: 400, reason: 'Bad Request' };

function refuse(error: NodeJS.ErrnoException, socket: Duplex, { onProtocolError }: Http1Hooks, end: Ending): void {
  // More of what was refused already.
  if (end.has(socket)) return;
  const { request, response } = connectionOf(socket) ?? {};
  if (response !== undefined && request?.complete === true && isAwaited(response) && socket.writable) {
    // What came behind a whole request is not to be answered in its place, nor its answer to be cut for that.
    onProtocolError(failureOf(error));
    end.after(socket, response);
    return;
  }
  const answering = response?.headersSent === true && !response.writableFinished;
  // A dead connection, or one in the middle of a response: nothing more can be said on it.
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE' || !socket.writable || answering) {
    socket.destroy();
    return;
  }
  const failure = failureOf(error);
  onProtocolError(failure);
  const { status, reason } = refusalOf(error);
  end.say(socket, status, reason, failure);
}

function refusalOf({ code }: NodeJS.ErrnoException): Refusal {
  return refusals[code ?? ''] ?? badRequest;
}

function failureOf(error: NodeJS.ErrnoException): MeshError {
  const code = refusalOf(error).status === 431 ? 'ERR_MESH_HEADERS_TOO_LARGE' : 'ERR_MESH_BAD_REQUEST';
  return new MeshError(code, `not an acceptable HTTP request: ${error.message}`, { cause: error });
}

/** Nothing of it is on the wire yet: the application has not answered, or others are before it. */
function isAwaited(response: ServerResponse): boolean {
  return !response.destroyed && (!response.headersSent || isQueued(response));
}

/** How connections end on which nothing more will be read. */
interface Ending {
  has(socket: Duplex): boolean;
  /** Closes when this response is complete, which is the last one. */
  after(socket: Duplex, response: ServerResponse): void;
  /** Answers, and closes when the client has, at most {@link lingerMs} later. */
  say(socket: Duplex, status: number, reason: string, failure: MeshError): void;
}

/** How long a refused client may take to read why (Envoy `delayed_close_timeout`), milliseconds. */
const lingerMs = 1_000;

/**
 * A connection that is closed with bytes of the client unread is reset, and the reset takes the answer
 * along that the client has not read yet (RFC 9112 section 9.6): what still comes is read, and dropped.
 */
function createEnding(clock: Clock): Ending {
  const ending = new WeakSet<Duplex>();
  return {
    has: (socket) => ending.has(socket),
    after(socket, response) {
      ending.add(socket);
      if (!response.headersSent) response.shouldKeepAlive = false;
      response.once('finish', () => (socket as Socket).destroySoon());
    },
    say(socket, status, reason, { code }) {
      ending.add(socket);
      const body = reason.toLowerCase();
      const text =
        `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: text/plain\r\n` +
        `content-length: ${body.length}\r\nx-inmesh-error: ${code}\r\n\r\n${body}`;
      if (connectionOf(socket)?.overHttp2 === true) {
        socket.end(text, () => socket.destroy());
        return;
      }
      socket.once(
        'close',
        clock.after(lingerMs, () => socket.destroy()),
      );
      socket.end(text);
    },
  };
}

/**
 * A socket was silent for its timeout. Between requests: it is idle, close it. Within one: only if
 * the client owes us its body, or does not take the response. A handler that takes its time, or
 * reads slowly, is no reason.
 */
function onIdle(socket: Socket, limits: AcceptorLimits, end: Ending): void {
  const connection = connectionOf(socket);
  const request = connection?.request;
  const response = connection?.response;
  if (request === undefined || response === undefined) {
    // The first request has not arrived yet: its headers have a time of their own, and an answer.
    if (socket.timeout !== limits.responseIdleMs) socket.destroySoon();
    return;
  }
  if (response.writableFinished || response.destroyed) {
    socket.destroySoon();
    return;
  }
  if (socket.timeout !== limits.bodyIdleMs && socket.timeout !== limits.responseIdleMs) {
    // The application has set a time of its own (`request.setTimeout`): do as Node does.
    if (request.listenerCount('timeout') === 0 && response.listenerCount('timeout') === 0) socket.destroy();
    return;
  }
  // Whoever reads by `readable`, as asynchronous iterators do, does not let it flow.
  const reads = request.readableFlowing === true || request.listenerCount('readable') > 0;
  const waits = reads && !request.complete && request.readableLength === 0;
  if (!waits) {
    if (socket.writableLength === 0) return;
    // The response is there, and the client does not read.
    if (socket.timeout === limits.responseIdleMs) socket.destroy();
    else socket.setTimeout(limits.responseIdleMs);
    return;
  }
  // Not in the place of an answer to a request before it, and not by the response, which is the application's: that
  // must learn that its body does not come, and may then answer in vain.
  if (response.headersSent || response.socket !== socket) socket.destroy();
  else {
    const failure = new MeshError('ERR_MESH_BAD_REQUEST', 'the body of a request does not come');
    end.say(socket, 408, 'Request Timeout', failure);
  }
}

function ignore(): void {}
