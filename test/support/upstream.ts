import { EventEmitter, once } from 'node:events';
import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { FakeClock } from './fake-clock.ts';

export { refusingPort } from './free-ports.ts';

/** A test, or whatever else runs something when it is over. */
export interface Owner {
  teardown(end: () => unknown): unknown;
}

/** A server on loopback that a test calls through the mesh. */
export interface Upstream {
  readonly port: number;
  /** Requests that have arrived, as `GET /path`. */
  readonly seen: string[];
  /** The raw requests, for headers. */
  readonly requests: IncomingMessage[];
  /** Connections that were ever accepted, and those that are open. */
  readonly accepted: () => number;
  readonly open: () => number;
  /** Resolves when the request with this number (from 1) has arrived. */
  arrived(count: number): Promise<IncomingMessage>;
  close(): Promise<void>;
}

/** An HTTP/1.1 server. Without a handler it answers `ok` to everything. */
export async function upstream(t: Owner, handler: RequestListener = answerOk): Promise<Upstream> {
  const seen: string[] = [];
  const requests: IncomingMessage[] = [];
  const arrivals = new EventEmitter();
  arrivals.setMaxListeners(0);
  const server = createHttp((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    requests.push(request);
    arrivals.emit('request');
    handler(request, response);
  });
  const { accepted, close, open, port } = await listen(t, server);
  return {
    port,
    seen,
    requests,
    accepted,
    open,
    close,
    async arrived(count) {
      while (requests.length < count) await once(arrivals, 'request');
      return requests[count - 1] as IncomingMessage;
    },
  };
}

/** A server that does with each connection what the test says: for everything that is not HTTP. */
export async function rawUpstream(
  t: Owner,
  onConnection: (socket: Socket, number: number) => void,
): Promise<{ readonly port: number; readonly accepted: () => number; readonly open: () => number }> {
  let count = 0;
  const server = createTcp((socket) => {
    socket.on('error', () => {});
    onConnection(socket, ++count);
  });
  return listen(t, server);
}

/** Turns of the event loop without a pause, for what this process does by itself. */
const quickTurns = 20_000;

/**
 * Lets the event loop turn until something has become true; fails the test after very many turns, and no sooner than
 * after half a minute: on a busy machine turns pass, and the other side has not had its turn yet.
 */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const end = performance.now() + 30_000;
  for (let turn = 0; turn < quickTurns || performance.now() < end; turn++) {
    if (condition()) return;
    if (turn < quickTurns) await nextTurn();
    else await pause(1);
  }
  throw new Error(`${what} did not become true`);
}

/** Lets the event loop turn, and the clock go on by `stepMs` in each turn, until something has become true. */
export async function advanceUntil(clock: FakeClock, stepMs: number, condition: () => boolean): Promise<void> {
  await until(() => {
    if (condition()) return true;
    clock.advance(stepMs);
    return false;
  });
}

/** Lets a few turns of the event loop pass, for what must not happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}

function answerOk(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  response.end('ok');
}

async function listen(t: Owner, server: Server) {
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  t.teardown(close);
  const { port } = server.address() as AddressInfo;
  return { port, accepted: () => accepted, open: () => sockets.size, close };
}
