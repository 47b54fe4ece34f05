import {
  type CallCredentials,
  type InterceptingListener,
  type Metadata,
  propagate,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { causeOf, type Mesh, type MeshErrorCode } from 'inmesh';
import { callerSignal, type GrpcCall, grpcCall, grpcTimeout, isGrpc } from 'inmesh/grpc';
import { systemClock, systemRandom } from 'inmesh/identity';
import { type Cause, followCause, leaveCause, type ParentCall } from './cause.ts';
import { type Encoding, encodingOf } from './compression.ts';
import { askCredentials, isEmpty } from './credentials.ts';
import type { CallLike } from './grpc-js.ts';
import { Incoming, type IncomingReader } from './incoming.ts';
import type { MeshChannel } from './mesh-channel.ts';
import { Outgoing } from './outgoing.ts';
import { addMetadata, type Headers, requestHeaders } from './request-headers.ts';
import {
  type Fields,
  metadataOf,
  statusIn,
  statusInTime,
  statusOf,
  statusOfCredentials,
  statusOfFailure,
  statusOfHttp,
} from './status.ts';

type Dispatcher = Mesh['dispatcher'];
type Controller = Parameters<NonNullable<Parameters<Dispatcher['dispatch']>[1]['onResponseData']>>[0];

export interface MeshCallOptions {
  readonly number: number;
  /** `/package.Service/Method`. */
  readonly method: string;
  /** Milliseconds since 1970; Infinity: none. */
  readonly deadline: number;
  readonly host: string | undefined;
  readonly parent: ParentCall | null;
  readonly flags: number | null | undefined;
}

/** The mesh's own word about a deadline goes first, and says more; this is for when it has none. */
const slackMs = 5;
/** What is read of a response that is none of gRPC, so that its connection can be used again. */
const mostDroppedBytes = 65_536;
/** And for how long: nobody waits for the call any more, and its stream must not stay for it. */
const longestDropMs = 1_000;
/** Failures after which a call that waits for ready goes on waiting: nobody has seen it. */
const notReady: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'ERR_MESH_NOT_READY',
  'ERR_MESH_NO_HEALTHY_ENDPOINT',
  'ERR_MESH_CONNECT_FAILED',
  'ERR_MESH_TLS_FAILED',
  'ERR_MESH_NO_IDENTITY',
]);
const noCompression = 2;
/** A timer for longer would fire at once; who waits for so long is not told by us. */
const longestTimerMs = 2_147_483_000;

/** One call of grpc-js as one request over the mesh. */
export class MeshCall implements CallLike, IncomingReader {
  readonly #channel: MeshChannel;
  readonly #options: MeshCallOptions;
  readonly #deadline: number;
  readonly #startedAt: number;
  readonly #outgoing: Outgoing;
  readonly #incoming: Incoming;
  readonly #encoding: Encoding;
  #credentials: CallCredentials | undefined;
  #headers: Headers;
  #demands: GrpcCall;
  #waitForReady: boolean;
  #listener: InterceptingListener | undefined;
  #controller: Controller | undefined;
  #cancelTimer: (() => void) | undefined;
  #cancelWait: (() => void) | undefined;
  #tries: number;
  /** The response has begun, and is one of gRPC: there are no more tries. */
  #committed: boolean;
  #final: StatusObject | undefined;
  #over: boolean;
  #dropped: number;
  #cause: Cause | undefined;

  constructor(channel: MeshChannel, options: MeshCallOptions) {
    const { flags, method, parent } = options;
    const { credentials, settings } = channel;
    const policy = settings.service?.policyOf(method);
    const spread = flags ?? propagate.DEFAULTS;
    const ofParent = parent !== null && (spread & propagate.DEADLINE) !== 0 ? timeOf(parent.getDeadline()) : Infinity;
    this.#channel = channel;
    this.#options = options;
    this.#startedAt = systemClock.wallNow();
    this.#deadline = Math.min(timeOf(options.deadline), ofParent, this.#startedAt + (policy?.timeoutMs ?? Infinity));
    this.#incoming = new Incoming(Math.min(settings.maxReceiveBytes, policy?.maxResponseBytes ?? Infinity), this);
    this.#encoding = channel.encoding;
    this.#outgoing = new Outgoing(channel.encoding, (details) => this.cancelWithStatus(status.INTERNAL, details));
    this.#credentials = credentials.call;
    this.#headers = [];
    this.#demands = channel.demandsOf(method, credentials.secure);
    this.#waitForReady = policy?.waitForReady ?? false;
    this.#listener = undefined;
    this.#controller = undefined;
    this.#cancelTimer = undefined;
    this.#cancelWait = undefined;
    this.#tries = 0;
    this.#committed = false;
    this.#final = undefined;
    this.#over = false;
    this.#dropped = 0;
    this.#cause = undefined;
    if ((spread & propagate.CANCELLATION) !== 0) this.#cause = parent ?? callerSignal();
  }

  // ---- grpc-js's side

  start(metadata: Metadata, listener: InterceptingListener): void {
    this.#listener = listener;
    const { host } = this.#options;
    const { userAgent } = this.#channel.settings;
    this.#waitForReady = metadata.getOptions().waitForReady ?? this.#waitForReady;
    this.#headers = requestHeaders({ userAgent, encoding: this.#encoding, host }, metadata);
    if (followCause(this.#cause, this.#causeCancelled)) {
      this.#causeCancelled();
      return;
    }
    const leftMs = this.#deadline - systemClock.wallNow();
    if (leftMs <= 0) {
      this.#finish(this.#deadlineStatus());
      return;
    }
    if (leftMs < longestTimerMs) this.#cancelTimer = systemClock.after(leftMs + slackMs, this.#expire, true);
    // What a call sends at once is one body then, which can be sent again.
    process.nextTick(this.#begin);
  }

  sendMessageWithContext(
    { callback, flags = 0 }: Parameters<CallLike['sendMessageWithContext']>[0],
    message: Buffer,
  ): void {
    if (this.#over) {
      if (callback !== undefined) process.nextTick(callback);
      return;
    }
    const { maxSendBytes, service } = this.#channel.settings;
    const most = Math.min(maxSendBytes, service?.policyOf(this.#options.method)?.maxRequestBytes ?? Infinity);
    if (message.length > most) {
      const details = `Attempted to send message with a size larger than ${most}`;
      this.cancelWithStatus(status.RESOURCE_EXHAUSTED, details);
      if (callback !== undefined) process.nextTick(callback);
      return;
    }
    this.#outgoing.send(message, (flags & noCompression) !== 0, callback);
  }

  halfClose(): void {
    this.#outgoing.end();
  }

  startRead(): void {
    this.#incoming.want();
  }

  cancelWithStatus(code: status, details: string): void {
    this.#cancel(statusOf(code, details));
  }

  setCredentials(credentials: CallCredentials): void {
    if (isEmpty(credentials)) return;
    this.#credentials = this.#credentials?.compose(credentials) ?? credentials;
    this.#demands = this.#channel.demandsOf(this.#options.method, true);
  }

  /** The endpoint that the call went to last; the target before that. */
  getPeer(): string {
    const { endpoint } = (this.#controller ?? {}) as { readonly endpoint?: { readonly name: string } };
    return endpoint?.name ?? this.#channel.getTarget();
  }

  getCallNumber(): number {
    return this.#options.number;
  }

  /** Who the server is, the mesh has verified: there is no certificate here that should be looked at. */
  getAuthContext(): null {
    return null;
  }

  /** The channel was closed while the call waited for it. */
  channelClosed(): void {
    this.#finish(statusOf(status.UNAVAILABLE, 'The channel was closed before the call was made'));
  }

  // ---- the mesh's side

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
  }

  onResponseStart(_controller: Controller, httpStatus: number, headers: Fields): void {
    if (this.#over || httpStatus < 200) return;
    const type = headers['content-type'];
    const told = statusIn(headers);
    if (told !== undefined || httpStatus !== 200 || typeof type !== 'string' || !isGrpc(type)) {
      // Nothing follows a status, unless its server is mistaken.
      this.#finish(told ?? statusOfHttp(httpStatus, headers));
      this.#cancelTimer = systemClock.after(longestDropMs, this.#drop);
      return;
    }
    this.#committed = true;
    const encoding = headers['grpc-encoding'];
    const accepted = headers['grpc-accept-encoding'];
    this.#incoming.encoding = encodingOf(encoding as string | undefined);
    if (typeof accepted === 'string') this.#channel.peerEncodings = accepted.split(',').map((name) => name.trim());
    const metadata = metadataOf(headers);
    metadata.remove('grpc-encoding');
    metadata.remove('grpc-accept-encoding');
    this.#tell((listener) => listener.onReceiveMetadata(metadata));
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    if (!this.#over && this.#final === undefined) {
      this.#incoming.push(chunk);
      return;
    }
    this.#dropped += chunk.length;
    if (this.#dropped > mostDroppedBytes) this.#drop();
  }

  onResponseEnd(_controller: Controller, trailers: Fields): void {
    if (this.#over) this.#cancelTimer?.();
    if (this.#over) return;
    const final =
      this.#final ?? statusIn(trailers) ?? statusOf(status.INTERNAL, 'The response ended without a gRPC status');
    const cut = final.code === status.OK && this.#incoming.partial;
    this.#final = cut ? statusOf(status.INTERNAL, 'The response ended in the middle of a message') : final;
    const retry = this.#demands.retry;
    // Tries that could still be repeated, the mesh has counted.
    if (this.#committed && retry?.retryableStatusCodes.has(this.#final.code)) retry.throttle?.failed();
    this.#incoming.end();
  }

  onResponseError(_controller: Controller, error: Error): void {
    if (this.#over) return;
    const code = causeOf(error)?.code;
    const unseen = code !== undefined && notReady.has(code) && this.#outgoing.untouched && !this.#committed;
    if (this.#waitForReady && unseen) this.#wait();
    else this.#finish(statusInTime(error, this.#deadline) ?? this.#deadlineStatus());
  }

  // ---- what arrives, in its order

  message(bytes: Buffer): void {
    this.#tell((listener) => {
      if (!this.#over || this.#final?.code === status.OK) listener.onReceiveMessage(bytes);
    });
  }

  failed(failure: StatusObject): void {
    this.#cancel(failure);
  }

  drained(): void {
    // Whoever is told of the last message may still find fault with it.
    process.nextTick(() => {
      if (this.#final !== undefined) this.#finish(this.#final);
    });
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  // ---- its course

  readonly #begin = (): void => {
    if (this.#over) return;
    const credentials = this.#credentials;
    if (credentials === undefined) {
      this.#dispatch();
      return;
    }
    askCredentials(credentials, this.#options.method, this.#channel.target.authority).then(
      (metadata) => {
        addMetadata(this.#headers, metadata);
        this.#dispatch();
      },
      (error: unknown) => this.#finish(statusOfCredentials(error)),
    );
  };

  readonly #dispatch = (): void => {
    if (this.#over) return;
    this.#cancelWait = undefined;
    this.#channel.waits(this, false);
    const { origin } = this.#channel.target;
    const headers = this.#headers.slice();
    if (this.#deadline !== Infinity) {
      headers.push('grpc-timeout', grpcTimeout(Math.max(1, this.#deadline - systemClock.wallNow())));
    }
    this.#tries++;
    const options = {
      origin,
      path: this.#options.method,
      method: 'POST',
      headers,
      body: this.#outgoing.open(),
      // Messages may be hours apart: what bounds a call is its deadline.
      headersTimeout: 0,
      bodyTimeout: 0,
      [grpcCall]: this.#demands,
    };
    try {
      this.#channel.mesh.dispatcher.dispatch(options as Parameters<Dispatcher['dispatch']>[0], this);
    } catch (error) {
      this.#finish(statusOfFailure(error as Error));
    }
  };

  /** Nobody was there to take the call: again, after a while. */
  #wait(): void {
    const waitMs = Math.min(100 * 1.6 ** Math.min(this.#tries - 1, 20), 5_000) * (0.8 + systemRandom() * 0.4);
    this.#channel.waits(this, true);
    this.#cancelWait = systemClock.after(waitMs, this.#dispatch, true);
    if (this.#channel.closed) this.channelClosed();
  }

  readonly #drop = (): void => this.#controller?.abort(new Error('what follows the status of a call is not read'));

  readonly #expire = (): void => this.#cancel(this.#deadlineStatus());

  readonly #causeCancelled = (): void => this.#cancel(statusOf(status.CANCELLED, 'Cancelled by parent call'));

  #deadlineStatus(): StatusObject {
    const afterMs = Math.max(0, Math.round(systemClock.wallNow() - this.#startedAt));
    return statusOf(status.DEADLINE_EXCEEDED, `Deadline exceeded after ${afterMs} ms, peer ${this.getPeer()}`);
  }

  #cancel(final: StatusObject): void {
    if (this.#over) return;
    this.#finish(final);
    this.#controller?.abort(new Error(final.details));
  }

  #finish(final: StatusObject): void {
    if (this.#over) return;
    this.#over = true;
    this.#final = final;
    this.#cancelTimer?.();
    this.#cancelWait?.();
    this.#channel.waits(this, false);
    this.#outgoing.close();
    this.#incoming.close();
    leaveCause(this.#cause, this.#causeCancelled);
    if (final.code === status.OK) this.#channel.settings.service?.throttle?.succeeded();
    this.#tell((listener) => listener.onReceiveStatus(final));
  }

  /** Never from within the mesh, which takes what a handler throws for a reason to end the call. */
  #tell(action: (listener: InterceptingListener) => void): void {
    const listener = this.#listener;
    if (listener !== undefined) process.nextTick(action, listener);
  }
}

/** Milliseconds since 1970; what is no time is none, as in grpc-js. */
function timeOf(deadline: Date | number): number {
  const ms = Number(deadline);
  return Number.isNaN(ms) ? Infinity : ms;
}
