import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

/** A server of node:http2 without TLS, which a client must know to speak HTTP/2. */
export interface Http2Upstream {
  readonly port: number;
  /** Request headers in the order of arrival. */
  readonly seen: IncomingHttpHeaders[];
  readonly sessions: ServerHttp2Session[];
  /** Sessions that are open. */
  readonly open: () => number;
}

export async function http2Upstream(
  t: Test,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void = answerOk,
  settings: { readonly maxConcurrentStreams?: number } = {},
): Promise<Http2Upstream> {
  const seen: IncomingHttpHeaders[] = [];
  const sessions: ServerHttp2Session[] = [];
  let open = 0;
  const server = createServer({ settings });
  server.on('session', (session) => {
    open++;
    sessions.push(session);
    session.on('error', () => {});
    session.on('close', () => open--);
  });
  server.on('stream', (stream, headers) => {
    seen.push(headers);
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, seen, sessions, open: () => open };
}

function answerOk(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200 });
  stream.end('ok');
}
