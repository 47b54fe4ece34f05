import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import type { Owner } from '../../support/upstream.ts';

/** A request as a server saw it. */
export interface Echo {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Answers every request with what it was. */
export const echo: RequestListener = (request, response) => {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (text: string) => (body += text));
  request.on('end', () => {
    const { headers, httpVersion, method = '', url = '' } = request;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ method, url, httpVersion, headers, body } satisfies Echo));
  });
};

/** An application behind an Envoy, in plaintext; its port. */
export const echoServer = (t: Owner, onRequest?: (request: IncomingMessage) => void): Promise<number> =>
  listen(
    t,
    // Who ends an idle connection ends it under the next request, now and then: callers end them here.
    createServer({ keepAliveTimeout: 0 }, (request, response) => {
      onRequest?.(request);
      echo(request, response);
    }),
  );

/** Answers every request with its port. */
export const portServer = (t: Owner): Promise<number> =>
  listen(
    t,
    createServer({ keepAliveTimeout: 0 }, ({ socket }, response) => void response.end(String(socket.localPort))),
  );

/** Says back what it is told, byte by byte. */
export const echoTcpServer = (t: Owner): Promise<number> =>
  listen(
    t,
    createTcpServer((socket) => void socket.pipe(socket)),
  );

async function listen(t: Owner, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    const closed = once(server, 'close');
    server.close();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}
