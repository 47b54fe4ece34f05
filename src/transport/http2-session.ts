import { Agent } from 'node:http';
import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import { isGrpc } from '../lib/grpc-answer.ts';
import { BridgeSocket } from './bridge-socket.ts';
import { limitControlFrames, watchStreams } from './http2-guard.ts';
import { carryStream } from './http2-stream.ts';
import type { AcceptorLimits } from './limits.ts';
import { meshServerOptions } from './server-options.ts';

/** One HTTP/2 connection. */
export interface Http2Connection {
  /** Announces the end (GOAWAY), lets running streams finish, then closes. */
  goAway(): void;
}

/** What a session needs of its surroundings. */
export interface Http2Options {
  readonly limits: AcceptorLimits;
  readonly clock: Clock;
  /** Takes the server's end of a new connection in memory. */
  serve(socket: BridgeSocket): void;
  /** Takes calls of gRPC as they are. Absent: they are requests like others. */
  readonly grpc?:
    | ((stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]) => void)
    | undefined;
}

/**
 * Speaks HTTP/2 on a connection and carries each stream to the HTTP/1 server, so that applications
 * see one kind of request. `docs/decisions/0001-http2-inbound-bridge.md` has the reasons.
 */
export function acceptHttp2(socket: Duplex, carrier: Socket, options: Http2Options): Http2Connection {
  const { limits, clock, grpc } = options;
  const { maxSessionMemory, settings } = meshServerOptions(limits);
  const session = performServerHandshake(socket, { maxSessionMemory, settings });
  const agent = new BridgeAgent(carrier, options.serve);
  const watch = watchStreams(clock, limits);
  let streams = 0;
  session.on('stream', (stream, headers, _flags, rawHeaders) => {
    streams++;
    stream.on('close', () => {
      streams--;
    });
    if (grpc !== undefined && headers[':method'] === 'POST' && isGrpc(headers['content-type'])) {
      grpc(stream, headers, rawHeaders);
    } else carryStream(stream, headers, rawHeaders, agent, clock, watch);
  });
  limitControlFrames(session, carrier, clock);
  // What the other side does wrong ends its session; 'close' follows.
  session.on('error', ignore);
  session.on('close', () => agent.destroy());
  session.setTimeout(limits.keepAliveMs, () => {
    if (streams === 0) session.close();
  });
  return {
    // A stream that is on its way is above the last id of the GOAWAY: its client knows that nothing
    // has touched it and sends it again elsewhere. (The gentler GOAWAY with the highest id makes
    // Node stop reading.)
    goAway: () => {
      if (!session.closed && !session.destroyed) session.close();
    },
  };
}

/** Keeps the connections in memory of one session for its next streams: never for another's. */
class BridgeAgent extends Agent {
  readonly #carrier: Socket;
  readonly #serve: (socket: BridgeSocket) => void;

  constructor(carrier: Socket, serve: (socket: BridgeSocket) => void) {
    super({ keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo' });
    this.#carrier = carrier;
    this.#serve = serve;
  }

  override createConnection(): BridgeSocket {
    const client = new BridgeSocket(this.#carrier);
    const server = new BridgeSocket(this.#carrier);
    BridgeSocket.connect(client, server);
    this.#serve(server);
    return client;
  }
}

function ignore(): void {}
