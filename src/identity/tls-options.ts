import { constants, createHash } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import type { Credentials } from './source.ts';
import { allRoots } from './trust.ts';

/** TLS 1.3 suites, then the ECDHE AEAD suites of TLS 1.2 that Istio's sidecars speak. */
export const meshCiphers: string = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');

/**
 * What `tls.createSecureContext`, `tls.createServer` and `server.setSecureContext` take: the
 * certificate, its key, all roots, TLS 1.2 or newer, AEAD suites with forward secrecy, no session
 * tickets and no renegotiation. Session resumption would revive identities that have expired or
 * whose root was removed; the session id context is bound to the roots as a second lock.
 *
 * A server adds `requestCert` and `rejectUnauthorized` itself; both sides check the SPIFFE ID with
 * `peerOfSocket` or `checkServerSpiffe`.
 */
export function meshTlsOptions(credentials: Credentials): SecureContextOptions & { readonly sessionIdContext: string } {
  const roots = allRoots(credentials.trustBundles);
  return {
    cert: credentials.certificateChainPem,
    key: credentials.privateKeyPem,
    ca: [...roots],
    minVersion: 'TLSv1.2',
    ciphers: meshCiphers,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext: createHash('sha256').update(roots.join('')).digest('hex').slice(0, 32),
  };
}
