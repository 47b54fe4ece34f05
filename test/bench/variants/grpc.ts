import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ClientOptions, MethodDefinition } from '@grpc/grpc-js';
import type { OutboundVariant, PreparedCalls } from '../variant.ts';
import { meshTo } from './mesh.ts';

const same = (bytes: Buffer): Buffer => bytes;

/** Bytes for bytes: what is measured is the call, and not how messages are written. */
export const bytesMethod: MethodDefinition<Buffer, Buffer> = {
  path: '/bench.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

/** Where the caller is pinned to a processor, its servers must not be. */
function startServer(file: string): ChildProcess {
  const pins = spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;
  return pins ? fork(file, { execPath: 'taskset', execArgv: ['-c', '0-63', process.execPath] }) : fork(file);
}

const message = Buffer.from('{"hello":"world"}');

/** Two servers of grpc-js, each in a process of its own, and a client of it that calls one or both. */
function variant(
  name: string,
  base: string,
  through: (
    ports: readonly [number, number],
  ) => Promise<{ target: string; options: ClientOptions; close(): Promise<void> }>,
): OutboundVariant {
  return {
    name,
    base,
    ownServers: true,
    async prepare(): Promise<PreparedCalls> {
      const { Client, credentials } = await import('@grpc/grpc-js');
      const file = fileURLToPath(new URL('../grpc-server.ts', import.meta.url));
      const servers = [startServer(file), startServer(file)];
      const [[first], [second]] = (await Promise.all(servers.map((server) => once(server, 'message')))) as [
        [number],
        [number],
      ];
      const { close, options, target } = await through([first, second]);
      const client = new Client(target, credentials.createInsecure(), options);
      return {
        call: () =>
          new Promise((resolve, reject) => {
            client.makeUnaryRequest(bytesMethod.path, same, same, message, (error) =>
              error === null ? resolve() : reject(error),
            );
          }),
        async close() {
          client.close();
          await close();
          for (const server of servers) server.kill();
        },
      };
    },
  };
}

export const grpcJs: OutboundVariant = variant('grpc-js: unary calls', 'grpc-js: unary calls', async ([port]) => ({
  target: `127.0.0.1:${port}`,
  options: {},
  close: async () => {},
}));

export const meshGrpc: OutboundVariant = variant(
  'inmesh: unary calls of grpc-js through the mesh',
  grpcJs.name,
  async ([first, second]) => {
    const { meshChannelOptions } = await import('@inmesh/grpc');
    const mesh = await meshTo([
      {
        apiVersion: 'networking.istio.io/v1',
        kind: 'ServiceEntry',
        metadata: { name: 'echo', namespace: 'bench' },
        spec: {
          hosts: ['echo.bench'],
          ports: [{ number: 50_051, name: 'grpc', protocol: 'GRPC' }],
          resolution: 'STATIC',
          endpoints: [first, second].map((port) => ({ address: '127.0.0.1', ports: { grpc: port } })),
        },
      },
      {
        apiVersion: 'networking.istio.io/v1',
        kind: 'VirtualService',
        metadata: { name: 'echo', namespace: 'bench' },
        spec: {
          hosts: ['echo.bench'],
          http: [
            {
              route: [{ destination: { host: 'echo.bench' } }],
              timeout: '10s',
              retries: { attempts: 2, retryOn: 'unavailable' },
            },
          ],
        },
      },
      {
        apiVersion: 'networking.istio.io/v1',
        kind: 'DestinationRule',
        metadata: { name: 'echo', namespace: 'bench' },
        spec: { host: 'echo.bench', trafficPolicy: { outlierDetection: { consecutive5xxErrors: 5 } } },
      },
    ]);
    return { target: 'echo.bench:50051', options: meshChannelOptions(mesh), close: () => mesh.close() };
  },
);
