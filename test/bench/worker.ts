// A process of the benchmark: the target, the caller, a server under test, or its load. It is told
// over IPC what to do and answers each message with one.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, createSecureContext } from 'node:tls';
import { type Round, type RoundOptions, runRound, runSteadily } from './measure.ts';
import { RawConnection } from './raw-client.ts';
import { rawServer } from './raw-server.ts';
import type { SecureTarget } from './secure.ts';
import { tokenLines } from './tokens.ts';
import type { BenchTokens } from './variant.ts';

/** What the parent asks for. */
export type Order =
  | { readonly do: 'target' }
  | { readonly do: 'secure target' }
  | { readonly do: 'call'; readonly variant: string; readonly ports: readonly [number, number] }
  | { readonly do: 'call over TLS'; readonly variant: string; readonly target: SecureTarget }
  | { readonly do: 'serve'; readonly variant: string }
  | {
      readonly do: 'load';
      readonly port: number;
      readonly connections: number;
      readonly folder?: string;
      readonly tokens?: BenchTokens;
      readonly grpc?: true;
    }
  | ({ readonly do: 'round' } & RoundOptions)
  | { readonly do: 'cpu' }
  | { readonly do: 'close' };

/** What a process answers. */
export interface Answer {
  readonly error?: string;
  readonly ports?: readonly number[];
  readonly target?: SecureTarget;
  /** Where client certificates for a server are. */
  readonly folder?: string;
  readonly tokens?: BenchTokens;
  /** Load is to be calls of gRPC. */
  readonly grpc?: true;
  readonly round?: Round;
  /** Processor time of this process so far, microseconds. */
  readonly cpuMicros?: number;
}

let call: (concurrency: number) => () => Promise<void> = () => () => Promise.reject(new Error('nothing to call'));
let close: () => Promise<void> = async () => {};

async function obey(order: Order): Promise<Answer> {
  switch (order.do) {
    case 'target': {
      const servers = [rawServer(), rawServer()].map((server) => server.listen(0, '127.0.0.1'));
      await Promise.all(servers.map((server) => once(server, 'listening')));
      return { ports: servers.map((server) => (server.address() as AddressInfo).port) };
    }
    case 'call': {
      // Loaded here: the target and the load generator stay small.
      const { outboundVariants } = await import('./variants/outbound.ts');
      const variant = outboundVariants.find(({ name }) => name === order.variant);
      if (variant === undefined) throw new Error(`no variant ${order.variant}`);
      const prepared = await variant.prepare(order.ports);
      call = () => prepared.call;
      close = prepared.close;
      return {};
    }
    case 'secure target': {
      const { startSecureTarget } = await import('./secure.ts');
      const { close: end, ...target } = await startSecureTarget();
      close = async () => end();
      return { target };
    }
    case 'call over TLS': {
      const { secureVariants } = await import('./variants/secure.ts');
      const variant = secureVariants.find(({ name }) => name === order.variant);
      if (variant === undefined) throw new Error(`no variant ${order.variant}`);
      const prepared = await variant.prepare(order.target);
      call = () => prepared.call;
      close = prepared.close;
      return {};
    }
    case 'serve': {
      const { inboundVariants } = await import('./variants/inbound.ts');
      const variant = inboundVariants.find(({ name }) => name === order.variant);
      if (variant === undefined) throw new Error(`no variant ${order.variant}`);
      const prepared = await variant.serve();
      close = prepared.close;
      const { folder, grpc, port, tokens } = prepared;
      return {
        ports: [port],
        ...(folder === undefined ? {} : { folder }),
        ...(tokens === undefined ? {} : { tokens }),
        ...(grpc === undefined ? {} : { grpc }),
      };
    }
    case 'load': {
      if (order.grpc === true) {
        const { grpcLoad } = await import('./grpc-load.ts');
        const load = await grpcLoad(order.port);
        call = () => load.call;
        close = async () => load.close();
        return {};
      }
      const secure = order.folder === undefined ? undefined : await clientOptions(order.folder);
      const lineOf = order.tokens && tokenLines(order.tokens);
      const opening = Array.from({ length: order.connections }, () =>
        RawConnection.open(order.port, '/hello', secure, lineOf),
      );
      const connections = await Promise.all(opening);
      // Each of the loops takes a connection that no other one uses.
      call = () => {
        const idle = [...connections];
        return async () => {
          const connection = idle.pop() as RawConnection;
          try {
            await connection.call();
          } finally {
            idle.push(connection);
          }
        };
      };
      close = async () => {
        for (const connection of connections) connection.close();
      };
      return {};
    }
    case 'round':
      return { round: await roundOf(order) };
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return { cpuMicros: user + system };
    }
    case 'close':
      await close();
      return {};
    default:
      throw new Error(`unknown order ${JSON.stringify(order satisfies never)}`);
  }
}

async function clientOptions(folder: string): Promise<ConnectionOptions> {
  const { readCredentials } = await import('./secure.ts');
  const { certificateChainPem: cert, privateKeyPem: key, trustBundles } = readCredentials(folder, 'client', 'p256');
  const secureContext = createSecureContext({ cert, key, ca: [...trustBundles.values()].flat() });
  return { secureContext, servername: 'bench', ALPNProtocols: ['http/1.1'], checkServerIdentity: () => undefined };
}

function roundOf(order: RoundOptions): Promise<Round> {
  const made = call(order.concurrency);
  return order.rate === undefined ? runRound(made, order) : runSteadily(made, order.rate, order);
}

process.on('message', (order: Order) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
// The parent is gone: so is the reason for this process.
process.on('disconnect', () => process.exit());
