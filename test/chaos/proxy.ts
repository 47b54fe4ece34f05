import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Random, seededRandom } from '../../src/lib/random.ts';
import { carry, type Toxics } from './toxics.ts';

/** What happens to one connection. */
export type Fate =
  | {
      readonly kind: 'pass';
      /** Towards the server. */
      readonly requests?: Toxics;
      /** Towards the client. */
      readonly responses?: Toxics;
    }
  /** Accepted, then reset (RST) at once. */
  | { readonly kind: 'reset' }
  /** Accepted, then closed (FIN) at once. */
  | { readonly kind: 'close' }
  /** Accepted; what comes is read, nothing ever answers. */
  | { readonly kind: 'blackHole' };

export const pass: Fate = { kind: 'pass' };

/** A TCP proxy on loopback that breaks connections on purpose. */
export interface ChaosProxy {
  readonly port: number;
  /** Connections that were accepted so far, and those that are open. */
  readonly accepted: () => number;
  readonly open: () => number;
  /** What happens to connections from now on: to all, or by their number (from 1). */
  use(fate: Fate | ((connection: number) => Fate)): void;
  /** Resets all connections that are open. */
  cut(): void;
  /** Stops to listen: connections are refused. Those that there are stay. */
  refuse(): Promise<void>;
  /** Listens again, on the same port. */
  listen(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy to a port of loopback. The same seed gives the same jitter and the same slices. */
export async function chaosProxy(
  target: number,
  options: { readonly seed?: number; readonly fate?: Fate } = {},
): Promise<ChaosProxy> {
  const random: Random = seededRandom(options.seed ?? 1);
  let decide: (connection: number) => Fate = () => options.fate ?? pass;
  const sockets = new Set<Socket>();
  let accepted = 0;
  let server: Server | undefined;
  let port = 0;

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.setNoDelay(true);
    // The other side of a connection that was broken on purpose may complain.
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };

  const meet = (client: Socket): void => {
    keep(client);
    const fate = decide(++accepted);
    if (fate.kind === 'reset') client.resetAndDestroy();
    else if (fate.kind === 'close') client.end().resume();
    else if (fate.kind === 'blackHole') client.resume();
    else join(client, fate);
  };

  const join = (client: Socket, { requests = {}, responses = {} }: Fate & { readonly kind: 'pass' }): void => {
    const upstream = connect({ host: '127.0.0.1', port: target, allowHalfOpen: true });
    keep(upstream);
    upstream.once('error', () => client.resetAndDestroy());
    client.once('error', () => upstream.resetAndDestroy());
    upstream.once('close', () => client.destroy());
    client.once('close', () => upstream.destroy());
    // A server that is to say nothing says it even to who asks nothing.
    if (responses.resetAt === 0 || requests.resetAt === 0) {
      client.resetAndDestroy();
      return;
    }
    carry(client, upstream, requests, random);
    carry(upstream, client, responses, random);
  };

  const listen = async (): Promise<void> => {
    server = createServer({ allowHalfOpen: true }, meet).listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const refuse = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    // 'close' comes when the last connection is gone; nobody listens from this moment on.
    closing?.close();
  };
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  await listen();

  return {
    port,
    accepted: () => accepted,
    open: () => sockets.size,
    use(fate) {
      decide = typeof fate === 'function' ? fate : () => fate;
    },
    cut,
    refuse,
    listen,
    async close() {
      await refuse();
      for (const socket of sockets) socket.destroy();
    },
  };
}
