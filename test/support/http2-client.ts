import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import type { Credentials } from '../../src/identity/source.ts';

/** One response over HTTP/2, whole. */
export interface Http2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  /** Statuses of informational responses before it. */
  readonly informational: readonly number[];
  /** Reset code; 0 when the stream ended well. */
  readonly code: number;
}

/** A session, over TLS when credentials are given. */
export function http2Session(
  port: number,
  tls?: { readonly ca: string; readonly credentials: Credentials },
): ClientHttp2Session {
  const session =
    tls === undefined
      ? connect(`http://127.0.0.1:${port}`)
      : connect(`https://127.0.0.1:${port}`, {
          ca: tls.ca,
          cert: tls.credentials.certificateChainPem,
          key: tls.credentials.privateKeyPem,
          checkServerIdentity: () => undefined,
        });
  session.on('error', () => {});
  return session;
}

/** Sends a request with a whole body and reads the whole answer. Never rejects: a reset is an answer. */
export async function http2Request(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body: string | Buffer = '',
  trailers?: OutgoingHttpHeaders,
): Promise<Http2Answer> {
  const empty = body.length === 0 && trailers === undefined;
  const stream = session.request(
    { ':path': '/', ...headers },
    { endStream: empty, waitForTrailers: trailers !== undefined },
  );
  let answer: Omit<Http2Answer, 'code'> = { status: 0, headers: {}, body: '', trailers: {}, informational: [] };
  stream.setEncoding('utf8');
  stream.on('error', () => {});
  stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}));
  stream.on('headers', (given) => {
    answer = { ...answer, informational: [...answer.informational, Number(given[':status'])] };
  });
  stream.on('response', (given) => {
    answer = { ...answer, status: Number(given[':status']), headers: given };
  });
  stream.on('trailers', (given) => {
    answer = { ...answer, trailers: given };
  });
  stream.on('data', (text: string) => {
    answer = { ...answer, body: answer.body + text };
  });
  if (!empty) stream.end(body);
  await once(stream, 'close').catch(() => {});
  return { ...answer, code: stream.rstCode ?? 0 };
}
