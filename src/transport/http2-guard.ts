import type { ClientRequest } from 'node:http';
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../lib/clock.ts';
import { BridgeSocket } from './bridge-socket.ts';

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } = constants;

/** PING and SETTINGS that a client may send at once, and then in each second; both are answered. */
const controlBurst = 1_000;
const controlPerSecond = 100;
/** And one for each frame sent to it: clients of gRPC measure the way with a PING beside what they receive. */
const bytesPerControl = 9;
/** What an answer to one takes at most. */
const answerBytes = 17;

/**
 * Ends a session that keeps this process busy with frames that ask for an answer and carry no request
 * (CVE-2019-9512, CVE-2019-9515): nghttp2 only bounds the answers that wait to be written.
 */
export function limitControlFrames(
  session: ServerHttp2Session,
  carrier: { readonly bytesWritten: number },
  clock: Clock,
): void {
  let left = controlBurst;
  let at = clock.now();
  /** What was written that has been looked at, and that answers have taken. */
  let seen = carrier.bytesWritten;
  const count = (): void => {
    seen += answerBytes;
    if (left < 1) {
      const now = clock.now();
      const sent = Math.max(0, carrier.bytesWritten - seen);
      left = Math.min(controlBurst, left + ((now - at) * controlPerSecond) / 1_000 + sent / bytesPerControl);
      seen += sent;
      at = now;
    }
    if (left >= 1) left--;
    else if (!session.destroyed) session.destroy(undefined, NGHTTP2_ENHANCE_YOUR_CALM);
  };
  session.on('ping', count);
  session.on('remoteSettings', count);
}

/** A stream on its way, as far as {@link watchStreams} looks at it. */
export interface WatchedStream {
  readonly stream: ServerHttp2Stream;
  readonly request: ClientRequest;
  /** Kept here by the watch: what had moved when something last did, and when that was. */
  moved: number;
  pending: number;
  movedAt: number;
  told: boolean;
}

/** Looks for streams of one session that do not move. */
export interface StreamWatch {
  add(stream: WatchedStream): void;
  remove(stream: WatchedStream): void;
}

/**
 * Does for streams what the timeouts of sockets do for connections of HTTP/1: one timer for a session
 * with streams, and no cost for each frame. A pause in a body is told to the connection in memory,
 * whose server decides; a response that the client does not take ends with a reset.
 */
export function watchStreams(
  clock: Clock,
  limits: { readonly bodyIdleMs: number; readonly responseIdleMs: number },
): StreamWatch {
  const streams = new Set<WatchedStream>();
  const intervalMs = Math.max(1, Math.min(limits.bodyIdleMs, limits.responseIdleMs) / 2);
  let running = false;
  const sweep = (): void => {
    running = false;
    const now = clock.now();
    for (const each of streams) look(each, now, limits.responseIdleMs);
    if (streams.size > 0) start();
  };
  const start = (): void => {
    running = true;
    clock.after(intervalMs, sweep);
  };
  return {
    add(stream) {
      stream.movedAt = clock.now();
      streams.add(stream);
      if (!running) start();
    },
    remove: (stream) => void streams.delete(stream),
  };
}

function look(watched: WatchedStream, now: number, responseIdleMs: number): void {
  const { request, stream } = watched;
  const served = request.socket instanceof BridgeSocket ? request.socket.other : undefined;
  const moved = served?.moved ?? 0;
  const pending = stream.writableLength;
  if (moved !== watched.moved || pending !== watched.pending) {
    watched.moved = moved;
    watched.pending = pending;
    watched.movedAt = now;
    watched.told = false;
    return;
  }
  const idleMs = now - watched.movedAt;
  const owed = (pending > 0 || stream.writableEnded) && !stream.writableFinished;
  if (owed && idleMs >= responseIdleMs) stream.close(NGHTTP2_CANCEL);
  else if (served !== undefined && served.timeout > 0 && idleMs >= served.timeout && !watched.told) {
    watched.told = true;
    served.emit('timeout');
  }
}
