import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { Test } from 'tap';
import { keyPem, makeCertificate, makeKey, type TestSan, type TestSigner, toPem } from './certificates.ts';

/** A root of a public kind, which signs for names instead of identities. */
export interface NameAuthority {
  readonly rootPem: string;
  readonly signer: TestSigner;
  issue(...sans: readonly TestSan[]): IssuedPair;
}

export interface IssuedPair {
  readonly certificate: string;
  readonly key: string;
  readonly serial: Buffer;
}

export function nameAuthority(name = 'test root'): NameAuthority {
  const key = makeKey();
  const signer = { name, key };
  const rootPem = toPem(makeCertificate(key, { name, ca: true }));
  let serials = 0;
  return {
    rootPem,
    signer,
    issue(...sans) {
      const own = makeKey();
      const serial = Buffer.from([0x40, 0, 0, ++serials]);
      const der = makeCertificate(own, { sans, name: 'leaf', serial }, signer);
      return { certificate: toPem(der), key: keyPem(own), serial };
    },
  };
}

/** What a client said in its handshake, and asked for. */
export interface SeenRequest {
  readonly serverName: string | false;
  readonly alpn: string | false | null;
  /** Subject alternative names of the client's certificate; nothing without one. */
  readonly client: string | undefined;
  readonly host: string | undefined;
  readonly url: string | undefined;
}

export interface TlsServer {
  readonly port: number;
  readonly seen: SeenRequest[];
  readonly connections: () => number;
}

/** An https server on loopback. */
export async function tlsServer(
  t: Test,
  pair: IssuedPair,
  options: TlsOptions = {},
  handler: RequestListener = (_, response) => response.end('ok'),
): Promise<TlsServer> {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer(
    { cert: pair.certificate, key: pair.key, ...options },
    (request: IncomingMessage, response) => {
      const socket = request.socket as TLSSocket & { readonly servername: string | false };
      seen.push({
        serverName: socket.servername,
        alpn: socket.alpnProtocol,
        client: socket.getPeerCertificate().subjectaltname,
        host: request.headers.host,
        url: request.url,
      });
      handler(request, response);
    },
  );
  server.on('tlsClientError', () => {});
  server.on('secureConnection', () => connections++);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, seen, connections: () => connections };
}

/** A folder for files of a test. */
export function testFolder(t: Test): { readonly path: string; write(name: string, text: string): string } {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-tls-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    write(name, text) {
      const file = join(path, name);
      writeFileSync(file, text);
      return file;
    },
  };
}
