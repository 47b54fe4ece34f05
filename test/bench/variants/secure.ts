import { once } from 'node:events';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import type { KeyKind, SecureTarget } from '../secure.ts';
import { keyKinds, readCredentials } from '../secure.ts';
import { expectOk, type PreparedCalls } from '../variant.ts';

/** One way of calling over mutual TLS, measured in a process of its own. */
export interface SecureVariant {
  readonly name: string;
  readonly base: string;
  prepare(target: SecureTarget): Promise<PreparedCalls>;
}

const serverId = 'spiffe://cluster.local/ns/bench/sa/server';
const serverName = 'outbound_.9080_._.reviews.bench.svc.cluster.local';
const request: Buffer = Buffer.from('GET /hello HTTP/1.1\r\nHost: reviews.bench\r\n\r\n');

/** One request and its answer, so that the server has seen our certificate, too; then the end. */
async function useOnce(socket: TLSSocket): Promise<void> {
  socket.write(request);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  if (!answer.toString('latin1').startsWith('HTTP/1.1 200 ')) throw new Error('another answer was expected');
}

const named: Readonly<Record<KeyKind, string>> = { p256: 'P-256', rsa2048: 'RSA-2048' };

function plain(kind: KeyKind): SecureVariant {
  const name = `new connection, ${named[kind]}: node:tls`;
  return {
    name,
    base: name,
    async prepare({ folder, ports }) {
      const { meshTlsOptions } = await import('../../../src/identity/tls-options.ts');
      const secureContext = createSecureContext(meshTlsOptions(readCredentials(folder, 'client', kind)));
      return {
        async call() {
          const socket = connectTls({
            host: '127.0.0.1',
            port: ports[kind],
            servername: serverName,
            secureContext,
            ALPNProtocols: ['http/1.1'],
            checkServerIdentity: () => undefined,
          });
          await once(socket, 'secureConnect');
          await useOnce(socket);
        },
        close: async () => {},
      };
    },
  };
}

function verified(kind: KeyKind): SecureVariant {
  return {
    name: `inmesh: new connection, ${named[kind]}: with the checks of SPIFFE`,
    base: `new connection, ${named[kind]}: node:tls`,
    async prepare({ folder, ports }) {
      const { openConnection } = await import('../../../src/transport/connector.ts');
      const { meshTlsOptions } = await import('../../../src/identity/tls-options.ts');
      const { peerOfSocket } = await import('../../../src/identity/verify-peer.ts');
      const { systemClock } = await import('../../../src/lib/clock.ts');
      const own = readCredentials(folder, 'client', kind);
      const context = createSecureContext(meshTlsOptions(own));
      const verify = (socket: TLSSocket): void => {
        const peer = peerOfSocket(socket, own.trustBundles, systemClock);
        if (peer?.spiffeId !== serverId) throw new Error(`${peer?.spiffeId} was not expected`);
      };
      const target = {
        cluster: 'bench',
        address: '127.0.0.1',
        port: ports[kind],
        timeoutMs: 10_000,
        clock: systemClock,
        security: () => ({ kind: 'mutual', context, serverName, verify }) as const,
      };
      return {
        call: () =>
          new Promise((resolve, reject) => {
            openConnection(target, (error, socket) => {
              if (socket === null) reject(error);
              else useOnce(socket as TLSSocket).then(resolve, reject);
            });
          }),
        close: async () => {},
      };
    },
  };
}

function resumed(kind: KeyKind): SecureVariant {
  return {
    name: `new connection, ${named[kind]}: node:tls, session resumed`,
    base: `new connection, ${named[kind]}: node:tls`,
    async prepare({ folder, ticketPorts }) {
      const { certificateChainPem: cert, privateKeyPem: key, trustBundles } = readCredentials(folder, 'client', kind);
      const secureContext = createSecureContext({ cert, key, ca: [...trustBundles.values()].flat() });
      const open = (session: Buffer | undefined): TLSSocket =>
        connectTls({
          host: '127.0.0.1',
          port: ticketPorts[kind],
          servername: serverName,
          secureContext,
          ALPNProtocols: ['http/1.1'],
          checkServerIdentity: () => undefined,
          ...(session === undefined ? {} : { session }),
        });
      const first = open(undefined);
      const [session] = (await once(first, 'session')) as [Buffer];
      first.destroy();
      return {
        async call() {
          const socket = open(session);
          await once(socket, 'secureConnect');
          if (!socket.isSessionReused()) throw new Error('the session was not resumed');
          await useOnce(socket);
        },
        close: async () => {},
      };
    },
  };
}

/** Throughput on connections that there are: undici with a client certificate. */
const undiciTls: SecureVariant = {
  name: 'undici.request over TLS with a client certificate',
  base: 'undici.request over TLS with a client certificate',
  async prepare({ folder, ports }) {
    const { Agent, request: call } = await import('undici');
    const { meshTlsOptions } = await import('../../../src/identity/tls-options.ts');
    const secureContext = createSecureContext(meshTlsOptions(readCredentials(folder, 'client', 'p256')));
    const dispatcher = new Agent({
      connect: { secureContext, servername: serverName, checkServerIdentity: () => undefined },
    });
    const url = `https://127.0.0.1:${ports.p256}/hello`;
    return {
      async call() {
        const { statusCode, body } = await call(url, { dispatcher });
        expectOk(statusCode);
        await body.text();
      },
      close: () => dispatcher.close(),
    };
  },
};

const meshTls: SecureVariant = {
  name: 'inmesh: undici.request through mesh.dispatcher with mutual TLS',
  base: undiciTls.name,
  async prepare({ folder, ports, ticketPorts }) {
    const { request: call } = await import('undici');
    const { meshTo, resources, url } = await import('./mesh.ts');
    const mesh = await meshTo(resources([ports.p256, ticketPorts.p256], { mutual: 'server' }), {
      name: 'bench',
      run: async (sink) => sink.update(readCredentials(folder, 'client', 'p256')),
    });
    return {
      async call() {
        const { statusCode, body } = await call(url, { dispatcher: mesh.dispatcher });
        expectOk(statusCode);
        await body.text();
      },
      close: () => mesh.close(),
    };
  },
};

/** In the order of the table: a base comes before what is compared with it. */
export const secureVariants: readonly SecureVariant[] = [
  undiciTls,
  meshTls,
  ...keyKinds.flatMap((kind) => [plain(kind), verified(kind), resumed(kind)]),
];
