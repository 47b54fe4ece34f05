import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';

/** What a method answers: a message, a failure with this status, or nothing at all. */
export type Answer = Buffer | { readonly code: number; readonly details?: string } | 'hang' | 'end';

type Stream = ServerWritableStream<Buffer, Buffer>;

/**
 * A server of the SPIFFE Workload API for tests and local development, from the text of the
 * standards: it serves a Unix socket (or loopback), refuses requests without the security header
 * with INVALID_ARGUMENT, and answers a stream at once and again whenever the answer changes.
 */
export interface WorkloadApiServer {
  /** `unix:///…` or `tcp://127.0.0.1:…`. */
  readonly address: string;
  /** Sets what a method answers from now on; open streams get it as well. PERMISSION_DENIED until then. */
  answer(method: string, answer: Answer | ((request: Buffer) => Answer)): void;
  /** Names of the methods that were called, in order. */
  readonly calls: string[];
  /** Calls under way. */
  open(): number;
  /** Ends everything at once, as a crash does. */
  stop(): Promise<void>;
  /** Serves at the same address again. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const streams = ['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTBundles'];
const unary = ['FetchJWTSVID', 'ValidateJWTSVID'];
const raw = (bytes: Buffer): Buffer => bytes;

/** Starts one. `tcp` serves on loopback instead of a Unix socket. */
export async function serveWorkloadApi({ tcp = false }: { readonly tcp?: boolean } = {}): Promise<WorkloadApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'workload-api-'));
  const answers = new Map<string, Answer | ((request: Buffer) => Answer)>();
  const watching = new Map<Stream, string>();
  const calls: string[] = [];
  let running = 0;
  let server: Server | undefined;
  let port = 0;

  const currentOf = (method: string, request: Buffer): Answer => {
    const answer = answers.get(method) ?? { code: status.PERMISSION_DENIED, details: 'no identity issued' };
    return typeof answer === 'function' ? answer(request) : answer;
  };
  const allowed = (metadata: Metadata): boolean => metadata.get('workload.spiffe.io').join() === 'true';
  const headerMissing = { code: status.INVALID_ARGUMENT, details: 'security header missing from request' };
  const fail = (stream: Stream, { code, details = '' }: { readonly code: number; readonly details?: string }): void => {
    watching.delete(stream);
    stream.emit('error', { code, details });
  };
  const send = (stream: Stream, answer: Answer): void => {
    if (answer === 'hang') return;
    if (answer === 'end') {
      watching.delete(stream);
      stream.end();
    } else if (Buffer.isBuffer(answer)) stream.write(answer);
    else fail(stream, answer);
  };

  const followed = (method: string) => (stream: Stream) => {
    calls.push(method);
    running++;
    watching.set(stream, method);
    stream.on('close', () => running--);
    stream.on('cancelled', () => watching.delete(stream));
    if (allowed(stream.metadata)) send(stream, currentOf(method, stream.request));
    else fail(stream, headerMissing);
  };
  const asked = (method: string) => (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
    calls.push(method);
    const answer = allowed(call.metadata) ? currentOf(method, call.request) : headerMissing;
    if (Buffer.isBuffer(answer)) done(null, answer);
    else if (typeof answer === 'object') done(answer);
    else {
      running++;
      call.on('cancelled', () => running--);
    }
  };

  const start = async (): Promise<void> => {
    const next = new Server();
    const definition = (method: string, responseStream: boolean) => ({
      path: `/SpiffeWorkloadAPI/${method}`,
      requestStream: false,
      responseStream,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    });
    next.addService(
      Object.fromEntries([
        ...streams.map((method) => [method, definition(method, true)]),
        ...unary.map((method) => [method, definition(method, false)]),
      ]),
      Object.fromEntries([
        ...streams.map((method) => [method, followed(method)]),
        ...unary.map((method) => [method, asked(method)]),
      ]),
    );
    const target = tcp ? `127.0.0.1:${port}` : `unix:${join(folder, 'api.sock')}`;
    const credentials = ServerCredentials.createInsecure();
    port = await new Promise<number>((resolve, reject) =>
      next.bindAsync(target, credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
    );
    server = next;
  };
  const stop = async (): Promise<void> => {
    server?.forceShutdown();
    server = undefined;
    watching.clear();
  };

  await start();
  return {
    get address() {
      return tcp ? `tcp://127.0.0.1:${port}` : `unix://${join(folder, 'api.sock')}`;
    },
    answer: (method, answer) => {
      answers.set(method, answer);
      for (const [stream, watched] of watching) {
        if (watched === method) send(stream, currentOf(method, stream.request));
      }
    },
    calls,
    open: () => running,
    stop,
    start,
    close: async () => {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
