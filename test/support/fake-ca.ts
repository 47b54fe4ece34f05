import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { derChildren, readDer } from '../../src/identity/der.ts';
import { keyPem, makeCertificate, makeKey, type TestAuthority, toPem } from './certificates.ts';

/** What a fake authority was asked. */
export interface CaRequest {
  readonly csr: string;
  readonly token: string | undefined;
  readonly publicKey: KeyObject;
  /** subjectAltName of the client certificate, when one was presented and verified. */
  readonly client: string | undefined;
}

/** Answers one request: with a status and a body, or with a certificate for this long. */
export type CaAnswer =
  | { readonly status: number; readonly body: string }
  | { readonly spiffeId: string; readonly ttlMs: number; readonly trustBundles?: Record<string, readonly string[]> }
  | 'hang'
  | 'cut';

/** A certificate authority of few words, over HTTPS on loopback. */
export interface FakeCa {
  readonly url: string;
  readonly requests: readonly CaRequest[];
  close(): Promise<void>;
}

/** Starts one. `now` is the time by which certificates are made, so that a fake clock fits; `port` 0 is a free one; `get` answers for bundles. */
export async function fakeCa(
  authority: TestAuthority,
  now: () => number,
  answer: (request: CaRequest, index: number) => CaAnswer,
  port = 0,
  get: (incoming: IncomingMessage, response: ServerResponse) => void = (_, response) => response.writeHead(404).end(),
): Promise<FakeCa> {
  const requests: CaRequest[] = [];
  const key = makeKey();
  const certificate = makeCertificate(key, { sans: [{ ip: [127, 0, 0, 1] }] }, authority.signer);
  const server = createServer(
    {
      cert: toPem(certificate) + authority.intermediatePem,
      key: keyPem(key),
      ca: authority.rootPem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (incoming, response) => {
      if (incoming.method === 'GET') return get(incoming, response);
      let text = '';
      incoming.on('data', (chunk) => {
        text += chunk.toString();
      });
      incoming.on('end', () => {
        const { csr, token } = JSON.parse(text) as { csr: string; token?: string };
        const socket = incoming.socket as TLSSocket;
        const { raw } = socket.getPeerCertificate();
        const client = socket.authorized && raw !== undefined ? new X509Certificate(raw).subjectAltName : undefined;
        const request = { csr, token, publicKey: publicKeyOf(csr), client };
        requests.push(request);
        reply(response, request, answer(request, requests.length - 1));
      });
    },
  );
  const reply = (response: ServerResponse, request: CaRequest, given: CaAnswer): void => {
    if (given === 'hang') return;
    if (given === 'cut') {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{');
      response.socket?.destroySoon();
      return;
    }
    if ('status' in given) {
      response.writeHead(given.status).end(given.body);
      return;
    }
    // TLS knows the real time only, however far a fake clock is ahead.
    const times = { notBefore: Math.min(now(), Date.now()) - 3_600_000, notAfter: now() + given.ttlMs };
    const leaf = makeCertificate(request.publicKey, { sans: [{ uri: given.spiffeId }], ...times }, authority.signer);
    const trustBundles = given.trustBundles ?? Object.fromEntries(authority.trustBundles);
    const body = { certificateChain: toPem(leaf) + authority.intermediatePem, trustBundles };
    response.end(JSON.stringify(body));
  };
  server.on('tlsClientError', () => {});
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function publicKeyOf(csr: string): KeyObject {
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  const [information] = derChildren(readDer(der));
  const spki = derChildren(information as NonNullable<typeof information>)[2];
  return createPublicKey({ key: spki?.bytes as Buffer, type: 'spki', format: 'der' });
}
