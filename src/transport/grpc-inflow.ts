import { constants, type ServerHttp2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import { putBack, takeArrived } from '../lib/arrived.ts';
import type { Clock } from '../lib/clock.ts';

const { NGHTTP2_CANCEL } = constants;

/** gRPC over HTTP/2, Length-Prefixed-Message: one byte that says whether it is compressed, four of length. */
const prefixBytes = 5;
/** So many messages at most are given to the application at a time. */
const messagesAtOnce = 16;

/** Pieces of a message that are shorter than this are gathered: each costs a hundred bytes until the message is whole. */
const crumbBytes = 512;
const gatheredBytes = 8_192;

const key = Symbol('inmesh.grpc-inflow');
interface Watched extends ServerHttp2Stream {
  [key]: Inflow;
}

/**
 * What comes in on one call, as far as the bounds of messages need it: where a message begins and ends, and
 * when something last moved. Contents are not looked at.
 */
class Inflow {
  readonly stream: ServerHttp2Stream;
  /** The caller owes one message and the end of its stream. */
  readonly single: boolean;
  /** Wants to see what comes. */
  readonly reader: ChunkReader | undefined;
  /** The end of the caller's stream has come. */
  ended: boolean;
  /** Pieces that have come. */
  moved: number;
  /** Messages that have come whole. */
  messages: number;
  /** Kept by the watch: what it saw last, and since when that has been so. */
  seenMoved: number;
  seenPending: number;
  seenMessages: number;
  movedAt: number;
  takenAt: number;
  messageAt: number;
  #prefix: number;
  #compressed: boolean;
  #length: number;
  #left: number;
  /** Crumbs of a message that the application has not been given. */
  #gathered: Buffer | undefined;
  #filled: number;

  constructor(stream: ServerHttp2Stream, single: boolean, reader: ChunkReader | undefined, now: number) {
    this.stream = stream;
    this.single = single;
    this.reader = reader;
    this.ended = stream.endAfterHeaders;
    this.moved = 0;
    this.messages = 0;
    this.seenMoved = 0;
    this.seenPending = 0;
    this.seenMessages = 0;
    this.movedAt = now;
    this.takenAt = now;
    this.messageAt = now;
    this.#prefix = 0;
    this.#compressed = false;
    this.#length = 0;
    this.#left = 0;
    this.#gathered = undefined;
    this.#filled = 0;
  }

  /** The application cannot go on before more comes, and the caller has said that it will. */
  get owed(): boolean {
    // The end may have come before anybody looked: while an authorizer was asked.
    return !this.ended && !this.stream.readableEnded && (this.single || this.#prefix > 0);
  }

  /** Is the next byte one inside of a message, behind its prefix? */
  get inside(): boolean {
    return this.#prefix === prefixBytes;
  }

  /** Keeps a crumb. Is there no room for another one? */
  gather(crumb: Uint8Array): boolean {
    this.#gathered ??= Buffer.allocUnsafeSlow(gatheredBytes);
    this.#gathered.set(crumb, this.#filled);
    this.#filled += crumb.length;
    return this.#filled + crumbBytes > gatheredBytes;
  }

  /** What was gathered, once. */
  takeGathered(): Buffer | undefined {
    const bytes = this.#gathered?.subarray(0, this.#filled);
    this.#gathered = undefined;
    this.#filled = 0;
    return bytes;
  }

  /**
   * Where the part of a chunk ends that may be given to the application at once: behind a compressed message,
   * which grows in its hands, or behind {@link messagesAtOnce}. What follows waits until it asks for more.
   */
  partEnd(chunk: Uint8Array, from: number): number {
    let at = from;
    for (let count = 0; at < chunk.length; ) {
      while (this.#prefix < prefixBytes && at < chunk.length) {
        const byte = chunk[at++] as number;
        if (this.#prefix === 0) this.#compressed = byte !== 0;
        else this.#length = this.#length * 256 + byte;
        if (++this.#prefix === prefixBytes) this.#left = this.#length;
      }
      if (this.#prefix < prefixBytes) break;
      const taken = Math.min(this.#left, chunk.length - at);
      this.#left -= taken;
      at += taken;
      if (this.#left > 0) break;
      this.#prefix = 0;
      this.#length = 0;
      this.messages++;
      if (this.#compressed || ++count === messagesAtOnce) break;
    }
    return at;
  }
}

/** In place of the stream's own `push`, by which Node tells it what has come. */
function pushInParts(this: Watched, chunk: Uint8Array | null, encoding?: BufferEncoding): boolean {
  const inflow = this[key];
  if (chunk === null) {
    inflow.ended = true;
    pushGathered(this, inflow);
    return Readable.prototype.push.call(this, null);
  }
  inflow.moved++;
  inflow.reader?.readRequest(chunk);
  let more = true;
  for (let from = 0; from < chunk.length; ) {
    const { inside } = inflow;
    const to = inflow.partEnd(chunk, from);
    if (inside && inflow.inside && to - from < crumbBytes) {
      if (inflow.gather(chunk.subarray(from, to))) more = pushGathered(this, inflow);
      from = to;
      continue;
    }
    pushGathered(this, inflow);
    const part = from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to);
    more = Readable.prototype.push.call(this, part, encoding);
    from = to;
  }
  return more;
}

function pushGathered(stream: Watched, inflow: Inflow): boolean {
  const bytes = inflow.takeGathered();
  return bytes === undefined || Readable.prototype.push.call(stream, bytes);
}

/** What a check showed an authorizer, and kept: it goes the same way as what comes from now on. */
function pushBack(stream: ServerHttp2Stream, inflow: Inflow): void {
  const parts: Uint8Array[] = [];
  for (const chunk of takeArrived(stream) as Buffer[]) {
    inflow.reader?.readRequest(chunk);
    for (let from = 0; from < chunk.length; ) {
      const to = inflow.partEnd(chunk, from);
      parts.push(chunk.subarray(from, to));
      from = to;
    }
  }
  putBack(stream, parts);
}

/** Bounds of {@link watchCalls}, milliseconds; see `AcceptorLimits`. */
export interface CallLimits {
  readonly bodyIdleMs: number;
  readonly requestTimeoutMs: number;
  readonly responseIdleMs: number;
}

/** Sees what comes in, as it comes. */
interface ChunkReader {
  readRequest(chunk: Uint8Array): void;
}

type WatchCall = (stream: ServerHttp2Stream, single: boolean, reader?: ChunkReader) => void;

/**
 * Gives calls of gRPC to their application in parts that it can take, and ends those that do not move: in the
 * middle of a message, before the only one of a call, or because nobody takes the response. One timer for all
 * calls of a server. A stream of messages may rest between two of them for as long as it likes, as
 * behind a sidecar of Istio.
 */
export function watchCalls(clock: Clock, limits: CallLimits): WatchCall {
  const calls = new Set<Inflow>();
  const intervalMs = Math.max(1, Math.min(limits.bodyIdleMs, limits.requestTimeoutMs, limits.responseIdleMs) / 2);
  let running = false;
  const sweep = (): void => {
    running = false;
    const now = clock.now();
    for (const each of calls) look(each, now, limits);
    if (calls.size > 0) start();
  };
  const start = (): void => {
    running = true;
    clock.after(intervalMs, sweep);
  };
  const forget = function (this: Watched): void {
    calls.delete(this[key]);
  };
  return (stream, single, reader) => {
    const inflow = new Inflow(stream, single, reader, clock.now());
    (stream as Watched)[key] = inflow;
    if (stream.readableLength > 0) pushBack(stream, inflow);
    if (!stream.endAfterHeaders) stream.push = pushInParts as ServerHttp2Stream['push'];
    calls.add(inflow);
    stream.once('close', forget);
    if (!running) start();
  };
}

function look(inflow: Inflow, now: number, limits: CallLimits): void {
  const { stream } = inflow;
  const pending = stream.writableLength;
  if (inflow.messages !== inflow.seenMessages || !inflow.owed) {
    inflow.seenMessages = inflow.messages;
    inflow.messageAt = now;
  }
  // Of its own: who goes on sending does not take anything by that.
  if (pending === 0 || pending !== inflow.seenPending) inflow.takenAt = now;
  if (inflow.moved !== inflow.seenMoved || pending !== inflow.seenPending) {
    inflow.seenMoved = inflow.moved;
    inflow.seenPending = pending;
    inflow.movedAt = now;
  }
  const idleMs = now - inflow.movedAt;
  const untaken = (pending > 0 || stream.writableEnded) && !stream.writableFinished;
  if (untaken && now - inflow.takenAt >= limits.responseIdleMs) stream.close(NGHTTP2_CANCEL);
  // What the application does not ask for the caller may not send.
  else if (!inflow.owed || stream.isPaused()) return;
  else if (idleMs >= limits.bodyIdleMs || now - inflow.messageAt >= limits.requestTimeoutMs)
    stream.close(NGHTTP2_CANCEL);
}
