import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type Clock, MeshError, printable } from 'inmesh/identity';
import type { EndpointAddress } from './address.ts';
import { bounds } from './bounds.ts';

/** What a question of ours came to: an OK, or what gRPC says went wrong. */
export interface Outcome {
  /** A gRPC status. */
  readonly code: number;
  readonly details: string;
  readonly cause?: unknown;
}

/** Methods of `SpiffeWorkloadAPI` that answer with a stream. */
export type StreamMethod = 'FetchX509SVID' | 'FetchX509Bundles' | 'FetchJWTBundles';
/** Those that answer once. */
export type UnaryMethod = 'FetchJWTSVID' | 'ValidateJWTSVID';

/** How a stream is followed. */
export interface FollowOptions {
  /** Called with each message; what it throws ends the stream and is thrown. */
  onMessage(bytes: Buffer): void;
  readonly signal: AbortSignal;
}

/** One Workload API. Each question has a connection of its own, so that back-off is ours alone and nothing idles. */
export interface Connection {
  readonly endpoint: EndpointAddress;
  /** Follows a stream to its end. @throws what `onMessage` throws */
  follow(method: StreamMethod, options: FollowOptions): Promise<Outcome>;
  /** Asks once. */
  ask(method: UnaryMethod, request: Buffer, signal: AbortSignal): Promise<Outcome & { readonly answer?: Buffer }>;
}

/** Options of {@link connectTo}. */
export interface ConnectionOptions {
  readonly clock: Clock;
  /** Time for an answer, or for the first message of a stream, milliseconds. */
  readonly timeoutMs: number;
}

const raw = (bytes: Buffer): Buffer => bytes;

const channelOptions = {
  'grpc.max_receive_message_length': bounds.messageBytes,
  // Private keys come this way: never through a proxy that the environment names.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  // Otherwise a connection that failed a moment ago is not tried again for a time that is not ours.
  'grpc.use_local_subchannel_pool': 1,
} as const;

/** Speaks to the Workload API at `endpoint`; connects when something is asked. */
export function connectTo(endpoint: EndpointAddress, { clock, timeoutMs }: ConnectionOptions): Connection {
  const open = (): Client => new Client(endpoint.target, credentials.createInsecure(), channelOptions);

  return {
    endpoint,
    follow: (method, { onMessage, signal }) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return resolve(aborted);
        const client = open();
        const call = client.makeServerStreamRequest(pathOf(method), raw, raw, Buffer.alloc(0), mandatoryMetadata(), {});
        const settle = once(() => {
          cancelTimer();
          signal.removeEventListener('abort', abort);
          call.cancel();
          client.close();
        });
        const abort = (): void => settle(() => resolve(aborted));
        const cancelTimer = clock.after(timeoutMs, () => settle(() => resolve(tooLate(timeoutMs))));
        signal.addEventListener('abort', abort);
        call.on('data', (bytes: Buffer) => {
          if (settle.done()) return;
          cancelTimer();
          try {
            onMessage(bytes);
          } catch (error) {
            settle(() => reject(error));
          }
        });
        call.on('error', (error: ServiceError) => settle(() => resolve(outcomeOf(error))));
        call.on('end', () => settle(() => resolve({ code: status.OK, details: 'the stream ended' })));
      }),

    ask: (method, request, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve(aborted);
        const client = open();
        const call = client.makeUnaryRequest(
          pathOf(method),
          raw,
          raw,
          request,
          mandatoryMetadata(),
          (error: ServiceError | null, answer?: Buffer) =>
            settle(() =>
              resolve(
                error === null ? { code: status.OK, details: '', answer: answer ?? Buffer.alloc(0) } : outcomeOf(error),
              ),
            ),
        );
        const settle = once(() => {
          cancelTimer();
          signal.removeEventListener('abort', abort);
          call.cancel();
          client.close();
        });
        const abort = (): void => settle(() => resolve(aborted));
        const cancelTimer = clock.after(timeoutMs, () => settle(() => resolve(tooLate(timeoutMs))));
        signal.addEventListener('abort', abort);
      }),
  };
}

const aborted: Outcome = { code: status.CANCELLED, details: 'aborted' };

function tooLate(timeoutMs: number): Outcome {
  return { code: status.DEADLINE_EXCEEDED, details: `no answer within ${timeoutMs} ms` };
}

/** Runs the first action that it is given, after cleaning up, and no other. */
function once(cleanUp: () => void): ((action: () => void) => void) & { done(): boolean } {
  let done = false;
  const settle = (action: () => void): void => {
    if (done) return;
    done = true;
    cleanUp();
    action();
  };
  return Object.assign(settle, { done: () => done });
}

function outcomeOf(error: ServiceError): Outcome {
  return { code: error.code ?? status.UNKNOWN, details: printable(error.details || error.message), cause: error };
}

function pathOf(method: StreamMethod | UnaryMethod): string {
  return `/SpiffeWorkloadAPI/${method}`;
}

/** SPIFFE Workload Endpoint, section 3: no request without it. */
function mandatoryMetadata(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

/** What an outcome other than OK is reported as. The `cause` has the gRPC status as `code`. */
export function failureOf(method: string, endpoint: EndpointAddress, { cause, code, details }: Outcome): MeshError {
  const name = status[code] ?? `status ${code}`;
  const hint = hints[code];
  return new MeshError(
    'ERR_MESH_WORKLOAD_API',
    `${method} of the Workload API at ${endpoint.uri}: ${name}: ${details}${hint === undefined ? '' : ` (${hint})`}`,
    { cause },
  );
}

const hints: Readonly<Record<number, string>> = {
  [status.PERMISSION_DENIED]: 'has this workload a registration entry, and does it match this process?',
  [status.RESOURCE_EXHAUSTED]: `answers may have ${bounds.messageBytes} bytes`,
};

/** SPIFFE Workload Endpoint, appendix A: after these, asking again is of no use. */
export function isFinal({ code }: Outcome): boolean {
  return code === status.INVALID_ARGUMENT || code === status.UNIMPLEMENTED;
}

/** Whether the Workload API could not be asked, as opposed to one that answered and refused. */
export function isUnreachable({ code }: Outcome): boolean {
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED || code === status.OK;
}
