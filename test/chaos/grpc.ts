import { Client, credentials, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { meshChannelOptions } from '@inmesh/grpc';
import type { Mesh } from '../../src/index.ts';
import type { Lab } from './lab.ts';

const path = '/shop.Greeter/Greet';
const same = (bytes: Buffer): Buffer => bytes;

/** A gRPC service that answers each call with UNAVAILABLE. */
export async function brokenGreeter(lab: Lab): Promise<{ readonly port: number; calls(): number }> {
  let calls = 0;
  const server = new Server();
  const bytes = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService(
    { greet: { path, requestStream: false, responseStream: false, ...bytes } },
    {
      greet(_call: unknown, answer: (error: object) => void) {
        calls++;
        answer({ code: status.UNAVAILABLE });
      },
    },
  );
  lab.teardown(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { port, calls: () => calls };
}

/** Makes one call through the mesh, however it ends. */
export function greeterOf(lab: Lab, mesh: Mesh, serviceConfig: object): () => Promise<void> {
  const options = meshChannelOptions(mesh, { 'grpc.service_config': JSON.stringify(serviceConfig) });
  const client = new Client('shop:80', credentials.createInsecure(), options);
  lab.teardown(() => client.close());
  return () =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), () => resolve());
    });
}
