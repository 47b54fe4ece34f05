import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcp, type ListenOptions, type Socket } from 'node:net';

export { refusingPort } from '../support/free-ports.ts';

export interface Owner {
  teardown(end: () => unknown): unknown;
}

/** A server that remembers which calls reached it. */
export interface LabServer {
  readonly port: number;
  /** How often the head of each call arrived, by `x-call`. */
  readonly calls: ReadonlyMap<string, number>;
  /** Requests whose head arrived, whose body was whole, and whose body broke off. */
  readonly seen: { heads: number; whole: number; partial: number };
  readonly accepted: () => number;
  readonly open: () => number;
  close(): void;
}

/** Answers 200 with what the call sent, or with its number. */
export const echo: RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    response.end(body.length === 0 ? String(request.headers['x-call']) : body);
  });
};

export const answer =
  (status: number, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (request, response) => {
    request.resume();
    response.writeHead(status, headers).end(String(status));
  };

/** An HTTP/1.1 server on loopback; `at` may name another address of it, or a port. */
export async function httpServer(
  owner: Owner,
  handler: RequestListener = echo,
  at: ListenOptions = {},
): Promise<LabServer> {
  const calls = new Map<string, number>();
  const seen = { heads: 0, whole: 0, partial: 0 };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const call = String(request.headers['x-call'] ?? '');
    calls.set(call, (calls.get(call) ?? 0) + 1);
    seen.heads++;
    request.on('end', () => seen.whole++);
    request.on('error', () => seen.partial++);
    handler(request, response);
  });
  server.keepAliveTimeout = 60_000;
  return { calls, seen, ...(await listen(owner, server, at)) };
}

/** A server that does with each connection what the case says. */
export async function rawServer(
  owner: Owner,
  onConnection: (socket: Socket, connection: number) => void,
  allowHalfOpen = false,
): Promise<Pick<LabServer, 'port' | 'accepted' | 'open' | 'close'>> {
  let count = 0;
  const server = createTcp({ allowHalfOpen }, (socket) => {
    socket.on('error', () => {});
    onConnection(socket, ++count);
  });
  return listen(owner, server, {});
}

/** Requests that arrived at all of them. */
export function heads(servers: readonly Pick<LabServer, 'seen'>[]): number {
  return servers.reduce((sum, { seen }) => sum + seen.heads, 0);
}

/** Calls that reached more than one server, or one of them twice. */
export function duplicates(servers: readonly Pick<LabServer, 'calls'>[]): number {
  const all = new Map<string, number>();
  for (const { calls } of servers) for (const [call, times] of calls) all.set(call, (all.get(call) ?? 0) + times);
  return [...all.values()].filter((times) => times > 1).length;
}

async function listen(owner: Owner, server: Server | ReturnType<typeof createTcp>, at: ListenOptions) {
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(at.path === undefined ? { port: 0, host: '127.0.0.1', ...at } : at);
  await once(server, 'listening');
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  owner.teardown(close);
  const { port = 0 } = server.address() as Partial<AddressInfo>;
  return { port, accepted: () => accepted, open: () => sockets.size, close };
}
