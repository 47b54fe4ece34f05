import { type Clock, MeshError, type Random, waitFor } from 'inmesh/identity';
import type { ProtocolSession, Received } from '../protocol/session.ts';
import type { Watches } from '../protocol/watches.ts';
import type { ResourceProblem } from '../resources.ts';
import type { XdsServer } from '../setup/server.ts';
import type { Access } from './credentials.ts';
import { createPauses } from './pauses.ts';
import { openStream, type Stream, type StreamParts } from './stream.ts';

/** The same refusal again is answered after this, then ever later. */
const firstRepeatMs = 500;
const maxRepeatMs = 30_000;
/** How long a connection may take, TLS and HTTP/2 included, milliseconds: gRPC's. */
const connectMs = 20_000;
/** How long the first answer on a connection may take before that is told, milliseconds. The stream stays. */
const answerMs = 30_000;

/** How it stands with one control plane. */
export interface ServerStatus {
  readonly address: string;
  readonly state: 'idle' | 'connecting' | 'connected' | 'waiting';
  /** What the control plane calls itself. */
  readonly controlPlane?: string;
  /** Why the last stream ended, or did not begin. */
  readonly problem?: string;
  /** Streams that were begun. */
  readonly streams: number;
}

export interface FollowParts extends Pick<StreamParts, 'protocol' | 'maxMessageBytes' | 'headers'> {
  readonly server: XdsServer;
  readonly clock: Clock;
  readonly random: Random;
  readonly watches: () => Watches;
  openAccess(server: XdsServer): Promise<Access>;
  /** Called for each stream. */
  session(): ProtocolSession;
  /** Requests went out on a stream that is there. */
  requested(): void;
  /**
   * Takes a response, at once or after others. `done` is called with what of it is refused, and not for a response that
   * does not count; `failed` when it could not be looked at.
   */
  receive(
    received: Received,
    done: (problems: readonly ResourceProblem[]) => void,
    failed: (error: unknown) => void,
  ): void;
  /** Whether responses are still being read: others had better wait where they are. */
  busy(): boolean;
  /** A stream has ended. @param productive it had a response */
  ended(reason: MeshError, productive: boolean): void;
  /** A stream is there, and nothing comes. */
  silent(reason: MeshError): void;
}

/** Follows one control plane: one stream after the other until it is closed. */
export interface Follower {
  /** What is asked for has changed. */
  watchesChanged(): void;
  /** There is time for further responses. */
  readOn(): void;
  status(): ServerStatus;
  session(): ProtocolSession | undefined;
  close(): void;
}

export function follow(parts: FollowParts): Follower {
  const { clock, random, server } = parts;
  const stop = new AbortController();
  let state: ServerStatus['state'] = 'idle';
  let controlPlane: string | undefined;
  let problem: string | undefined;
  let streams = 0;
  let session: ProtocolSession | undefined;
  let isConnected = false;
  let stream: Stream | undefined;
  /** Refusals that are said later, by type. */
  const laterAnswers = new Map<string, () => void>();
  const dropAnswer = (type: string): void => {
    laterAnswers.get(type)?.();
    laterAnswers.delete(type);
  };
  const dropAnswers = (): void => {
    for (const type of laterAnswers.keys()) dropAnswer(type);
  };

  const sendRequests = (): void => {
    if (stream === undefined || session === undefined) return;
    for (const request of session.requests(parts.watches())) stream.send(request);
    if (isConnected) parts.requested();
  };

  /** One stream, to its end. */
  const once = async (): Promise<boolean> => {
    state = 'connecting';
    streams++;
    const access = await parts.openAccess(server);
    if (stop.signal.aborted) return false;
    const { promise: ended, resolve } = Promise.withResolvers<MeshError>();
    let productive = false;
    const mine = (session = parts.session());
    const repeats = createRepeats();
    let heard = false;
    let cancelSilence = (): void => {};
    const opened = openStream({
      address: server.address,
      access,
      protocol: parts.protocol,
      maxMessageBytes: parts.maxMessageBytes,
      headers: parts.headers,
      connected() {
        isConnected = true;
        parts.requested();
        if (heard) return;
        cancelSilence();
        cancelSilence = clock.after(answerMs, () => {
          problem = `${server.address} takes requests, and has not answered for ${answerMs} ms`;
          state = 'waiting';
          parts.silent(new MeshError('ERR_MESH_CONTROL_PLANE', problem));
        });
      },
      message(bytes) {
        heard = true;
        cancelSilence();
        const received = mine.receive(bytes);
        // Only the newest response of a type is answered: an older nonce would be passed over, or taken for the newest.
        if (received.update !== undefined) dropAnswer(received.update.type);
        productive = true;
        state = 'connected';
        problem = undefined;
        if (received.controlPlane !== '') controlPlane = received.controlPlane;
        const done = (problems: readonly ResourceProblem[]): void => {
          // What was taken in after its stream had ended counts, and there is nobody to answer.
          if (received.update === undefined || session !== mine) return;
          const { type } = received.update;
          const pauseMs = repeats.pauseMs(type, problems);
          const answer = (): void => opened.send(received.answer(problems));
          dropAnswer(type);
          if (pauseMs === 0) answer();
          else laterAnswers.set(type, clock.after(pauseMs, answer));
        };
        parts.receive(received, done, opened.refuse);
        if (parts.busy()) opened.pause();
      },
      closed: resolve,
    });
    // A peer that takes the connection and no more would be waited for without an end.
    cancelSilence = clock.after(connectMs, () => {
      opened.close();
      resolve(
        new MeshError(
          'ERR_MESH_CONTROL_PLANE',
          `${server.address} is out of reach: no connection within ${connectMs} ms`,
        ),
      );
    });
    stream = opened;
    const abort = (): void => {
      opened.close();
      resolve(new MeshError('ERR_MESH_CLOSED', 'closed'));
    };
    stop.signal.addEventListener('abort', abort);
    sendRequests();
    const reason = await ended;
    stop.signal.removeEventListener('abort', abort);
    dropAnswers();
    cancelSilence();
    isConnected = false;
    stream = session = undefined;
    if (!stop.signal.aborted) {
      problem = reason.message;
      state = 'waiting';
      parts.ended(reason, productive);
    }
    return productive;
  };

  const run = async (): Promise<void> => {
    const pauses = createPauses(random);
    while (!stop.signal.aborted) {
      const startedAt = clock.now();
      let productive = false;
      try {
        productive = await once();
      } catch (error) {
        if (stop.signal.aborted) return;
        const reason = error instanceof MeshError ? error : new MeshError('ERR_MESH_CONTROL_PLANE', String(error));
        problem = reason.message;
        state = 'waiting';
        parts.ended(reason, false);
      }
      const wait = pauses.next(productive) - (clock.now() - startedAt);
      if (wait > 0) await waitFor(clock, wait, stop.signal);
    }
  };
  void run();

  return {
    watchesChanged: sendRequests,
    readOn: () => stream?.readOn(),
    session: () => session,
    status: () => ({
      address: server.address,
      state,
      streams,
      ...(controlPlane === undefined ? {} : { controlPlane }),
      ...(problem === undefined ? {} : { problem }),
    }),
    close() {
      stop.abort();
      dropAnswers();
    },
  };
}

/** A control plane that sends again at once what was refused would keep both busy. */
function createRepeats(): { pauseMs(type: string, problems: readonly ResourceProblem[]): number } {
  const last = new Map<string, { readonly text: string; readonly count: number }>();
  return {
    pauseMs(type, problems) {
      if (problems.length === 0) {
        last.delete(type);
        return 0;
      }
      const text = JSON.stringify(problems);
      const before = last.get(type);
      const count = before?.text === text ? before.count + 1 : 0;
      last.set(type, { text, count });
      return count === 0 ? 0 : Math.min(maxRepeatMs, firstRepeatMs * 2 ** Math.min(count - 1, 10));
    },
  };
}
