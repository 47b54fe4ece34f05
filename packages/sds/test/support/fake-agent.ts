import { rmSync } from 'node:fs';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  type Any,
  type DiscoveryRequest,
  readDiscoveryRequest,
  secretType,
  writeDiscoveryResponse,
} from '../../src/discovery.ts';

/** An SDS server of few words: answers what a test says, and keeps what it was asked. */
export interface FakeAgent {
  /** Every request, of all streams. */
  readonly requests: readonly DiscoveryRequest[];
  /** Open streams. */
  streams(): number;
  /** What new streams get, and open ones right now. Nothing: they wait. */
  set(answer: FakeAnswer | undefined): void;
  /** Ends all streams with this status. */
  fail(code: number, details: string): void;
  /** Nobody serves the socket. */
  stop(): void;
  start(): Promise<void>;
}

/** Bytes as they are, or resources in an answer with the next version. */
export type FakeAnswer = Buffer | readonly Any[];

const raw = (value: Buffer): Buffer => value;

/** Starts one on a socket. */
export async function fakeAgent(path: string): Promise<FakeAgent> {
  const requests: DiscoveryRequest[] = [];
  const open = new Set<ServerDuplexStream<Buffer, Buffer>>();
  let answer: FakeAnswer | undefined;
  let version = 0;
  let server: Server | undefined;
  const send = (stream: ServerDuplexStream<Buffer, Buffer>): void => {
    if (answer === undefined) return;
    if (Buffer.isBuffer(answer)) return void stream.write(answer);
    version++;
    const nonce = `nonce-${version}`;
    stream.write(writeDiscoveryResponse({ versionInfo: `v${version}`, nonce, typeUrl: secretType, resources: answer }));
  };
  const agent: FakeAgent = {
    requests,
    streams: () => open.size,
    set(next) {
      answer = next;
      for (const stream of open) send(stream);
    },
    fail(code, details) {
      for (const stream of open) stream.emit('error', { code, details });
      open.clear();
    },
    stop() {
      server?.forceShutdown();
      server = undefined;
      open.clear();
      rmSync(path, { force: true });
    },
    async start() {
      const next = new Server();
      next.addService(
        {
          streamSecrets: {
            path: '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
            requestStream: true,
            responseStream: true,
            requestSerialize: raw,
            requestDeserialize: raw,
            responseSerialize: raw,
            responseDeserialize: raw,
          },
        },
        {
          streamSecrets: (stream: ServerDuplexStream<Buffer, Buffer>) => {
            open.add(stream);
            stream.on('data', (bytes: Buffer) => {
              const request = readDiscoveryRequest(bytes);
              requests.push(request);
              if (request.responseNonce === '') send(stream);
            });
            stream.on('cancelled', () => open.delete(stream));
            stream.on('end', () => {
              open.delete(stream);
              stream.end();
            });
          },
        },
      );
      await new Promise<void>((resolve, reject) => {
        next.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
          error === null ? resolve() : reject(error),
        );
      });
      server = next;
    },
  };
  await agent.start();
  return agent;
}
