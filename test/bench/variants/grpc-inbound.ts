import type { Server } from '@grpc/grpc-js';
import type { InboundVariant, PreparedServer } from '../variant.ts';
import { bytesMethod } from './grpc.ts';

const workload = {
  name: 'bench',
  namespace: 'bench',
  serviceAccount: 'bench',
  labels: { app: 'bench' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** Answers what it is asked; both servers have the same handler. */
async function serving(server: Server, close: () => Promise<void>): Promise<PreparedServer> {
  const { ServerCredentials } = await import('@grpc/grpc-js');
  server.addService({ echo: bytesMethod }, {
    echo: (call: { request: Buffer }, answer: (error: null, message: Buffer) => void) => answer(null, call.request),
  } as never);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { port, grpc: true, close };
}

const bare = async (): Promise<PreparedServer> => {
  const { Server } = await import('@grpc/grpc-js');
  const server = new Server();
  return serving(server, async () => server.forceShutdown());
};

/** With one rule that names method and path, so that authorization has something to decide. */
const meshed = async (): Promise<PreparedServer> => {
  const { createMesh } = await import('../../../src/mesh.ts');
  const { staticSource } = await import('../../../src/config/static-source.ts');
  const { MeshServer } = await import('@inmesh/grpc');
  const allow = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'allow', namespace: 'bench' },
    spec: { rules: [{ to: [{ operation: { methods: ['POST'], paths: [bytesMethod.path] } }] }] },
  };
  const config = staticSource([allow], { workload, outboundPolicy: 'ALLOW_ANY' });
  const mesh = createMesh({ workload, identity: false, config });
  return serving(new MeshServer(mesh as never), () => mesh.close());
};

export const grpcInboundVariants: readonly InboundVariant[] = [
  { name: 'grpc-js server', base: 'grpc-js server', serve: bare },
  { name: 'inmesh: grpc-js server', base: 'grpc-js server', serve: meshed },
];
