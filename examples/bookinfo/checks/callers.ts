import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Authority, createAuthority } from '@inmesh/ca';
import { createCsr, generateIdentityKey } from 'inmesh/identity';

/** What a caller shows of itself. */
export type Credential = 'plain HTTP' | 'no certificate' | { readonly key: string; readonly cert: string };

/** What came of a call. */
export interface Outcome {
  /** The connection ended before any answer. */
  readonly refused: boolean;
  readonly what: string;
}

/** A certificate for this identity, signed by this authority. */
export function certificateOf(authority: Authority, spiffeId: string): Credential {
  const key = generateIdentityKey();
  const { certificateChainPem } = authority.signCsr(createCsr(spiffeId, key), spiffeId);
  return { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: certificateChainPem };
}

/** An authority that nobody in the mesh trusts, although it claims the same trust domain. */
export function strangeAuthority(): Authority {
  return createAuthority({ trustDomain: 'cluster.local' });
}

/** Calls a port without inmesh, as a stranger would. */
export function knock(port: number, path: string, credential: Credential): Promise<Outcome> {
  const target = { host: '127.0.0.1', port, path, timeout: 5_000, agent: false };
  // It is the callee that is tested; this caller takes whatever certificate it is shown.
  const tls = typeof credential === 'string' ? {} : credential;
  return new Promise((resolve) => {
    const answered = (response: IncomingMessage): void => {
      response.resume();
      resolve({ refused: false, what: `status ${response.statusCode}` });
    };
    const request: ClientRequest =
      credential === 'plain HTTP'
        ? httpRequest(target, answered)
        : httpsRequest({ ...target, ...tls, rejectUnauthorized: false }, answered);
    request.on('timeout', () => {
      resolve({ refused: false, what: 'no answer, on an open connection' });
      request.destroy();
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      // That nobody listens is not a refusal.
      resolve({ refused: error.code !== 'ECONNREFUSED', what: error.message });
    });
    request.end();
  });
}
