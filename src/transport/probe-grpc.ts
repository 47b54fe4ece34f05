import { type ClientHttp2Session, connect, constants } from 'node:http2';
import type { GrpcProbe } from '../model/health-check.ts';
import { type ConnectTarget, openConnection } from './connector.ts';
import { type Prober, probeAgent } from './prober.ts';

/** An answer is a few bytes; more than this is none. */
const maxAnswerBytes = 65_536;
const noError = constants.NGHTTP2_NO_ERROR;

/** A unary call of `grpc.health.v1.Health/Check` over HTTP/2, on a connection that is kept. */
export function grpcProber(target: ConnectTarget, probe: GrpcProbe): Prober {
  const message = requestOf(probe.service);
  const headers = {
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    ':authority': probe.host,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': probeAgent,
    'grpc-timeout': `${Math.min(99_999_999, Math.ceil(target.timeoutMs))}m`,
    ...Object.fromEntries(probe.headers.map(({ name, value }) => [name, value])),
  };
  let session: ClientHttp2Session | undefined;
  const drop = (): void => {
    const old = session;
    session = undefined;
    old?.destroy();
  };
  const keep = (made: ClientHttp2Session): void => {
    session = made;
    const forget = (): void => {
      if (session === made) session = undefined;
    };
    made.on('close', forget);
    // A question that is under way may still be answered; the next goes to another connection.
    made.on('goaway', forget);
    // Reported by the stream that it ends.
    made.on('error', () => {});
    made.unref();
  };

  const call = (on: ClientHttp2Session, end: (status: number | undefined, problem: string) => void): (() => void) => {
    const stream = on.request(headers);
    let body = Buffer.alloc(0);
    let status: number | undefined;
    let problem = '';
    let trailed = false;
    stream.on('response', (given, flags) => {
      const code = Number(given[':status']);
      const last = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      const type = String(given['content-type'] ?? '');
      if (code !== 200) problem = `status ${code}`;
      else if (!type.startsWith('application/grpc')) problem = 'the answer is not gRPC';
      if (last) {
        status = statusOf(given['grpc-status']);
        trailed = true;
      }
    });
    stream.on('data', (chunk: Buffer) => {
      if (body.length <= maxAnswerBytes) body = Buffer.concat([body, chunk]);
    });
    stream.on('trailers', (given) => {
      status = statusOf(given['grpc-status']);
      trailed = true;
    });
    stream.on('error', (cause) => end(undefined, cause.message));
    stream.on('close', () => {
      if (stream.rstCode !== noError || (!trailed && problem === '')) end(undefined, 'the answer broke off');
      else if (problem !== '') end(-1, problem);
      else if (status !== 0) end(-1, `grpc-status ${status ?? 'missing'}`);
      else end(servingOf(body), '');
    });
    stream.end(message);
    return () => stream.close(constants.NGHTTP2_CANCEL);
  };

  return {
    ask(done) {
      let over = false;
      let cancel = (): void => {};
      const end = (status: number | undefined, problem: string): void => {
        if (over) return;
        over = true;
        if (status === undefined) {
          drop();
          done({ kind: 'error', message: problem });
        } else {
          const serving = status === 1;
          const word = servingStates[status] ?? 'an answer that is not one';
          done({ kind: 'grpc', serving, message: problem === '' ? word : problem });
        }
      };
      if (session !== undefined && !session.closed && !session.destroyed) cancel = call(session, end);
      else {
        openConnection(target, (error, socket) => {
          if (socket === null) {
            end(undefined, error?.message ?? 'no connection');
            return;
          }
          if (over) {
            socket.on('error', () => {}).destroy();
            return;
          }
          keep(connect('http://endpoint', { createConnection: () => socket }));
          cancel = call(session as ClientHttp2Session, end);
        });
      }
      return () => {
        if (over) return;
        over = true;
        cancel();
        // Who did not answer may not be there any more: the next question goes to another connection.
        drop();
      };
    },
    renew: drop,
    close: drop,
  };
}

const servingStates: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

function statusOf(given: string | string[] | undefined): number | undefined {
  const text = String(given ?? '');
  return /^\d{1,4}$/.test(text) ? Number(text) : undefined;
}

/** `HealthCheckRequest { string service = 1 }` in one gRPC frame. */
function requestOf(service: string): Buffer {
  const name = Buffer.from(service);
  const field = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a]), varint(name.length), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(field.length, 1);
  return Buffer.concat([prefix, field]);
}

/** `HealthCheckResponse { ServingStatus status = 1 }` in exactly one frame: the status, or -1 for anything else. */
export function servingOf(body: Buffer): number {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) return -1;
  const message = body.subarray(5);
  let status = 0;
  let at = 0;
  const read = (): number => {
    let value = 0;
    for (let shift = 0; shift < 32; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) return -1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    return -1;
  };
  while (at < message.length) {
    const key = read();
    const value = read();
    if (key === -1 || value === -1) return -1;
    const kind = key & 7;
    if (kind === 0) {
      if (key >> 3 === 1) status = value;
    } else if (kind === 2) at += value;
    else return -1;
    if (at > message.length) return -1;
  }
  return status;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
