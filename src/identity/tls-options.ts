import { constants, createHash } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { strongSuites } from '../lib/tls-words.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import type { Credentials } from './source.ts';
import { allRoots } from './trust.ts';

const suitesOfTls13 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];

/** TLS 1.3 suites, then the ECDHE AEAD suites of TLS 1.2 that Istio's sidecars speak. */
export const meshCiphers: string = ciphersOf(strongSuites);

/** Without those of TLS 1.3 Node.js would not speak it. */
function ciphersOf(suites: readonly string[]): string {
  return [...suitesOfTls13, ...suites].join(':');
}

/** What may be spoken, in the words of Node.js; suites and curves only where there are any. */
export function tlsParameterOptions({
  cipherSuites,
  curves,
  maxVersion,
  minVersion = 'TLSv1.2',
}: TlsParameters = {}): SecureContextOptions {
  return {
    minVersion,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(cipherSuites === undefined ? {} : { ciphers: ciphersOf(cipherSuites) }),
    ...(curves === undefined ? {} : { ecdhCurve: curves.join(':') }),
  };
}

/**
 * What `tls.createSecureContext`, `tls.createServer` and `server.setSecureContext` take: the
 * certificate, its key, all roots, TLS 1.2 or newer, AEAD suites with forward secrecy, no session
 * tickets and no renegotiation. Session resumption would revive identities that have expired or
 * whose root was removed; the session id context is bound to the roots as a second lock.
 *
 * A server adds `requestCert` and `rejectUnauthorized` itself; both sides check the SPIFFE ID with
 * `peerOfSocket` or `checkServerSpiffe`.
 *
 * @param parameters narrow what is spoken
 */
export function meshTlsOptions(
  credentials: Credentials,
  parameters?: TlsParameters,
): SecureContextOptions & { readonly sessionIdContext: string } {
  const roots = allRoots(credentials.trustBundles);
  return {
    cert: credentials.certificateChainPem,
    key: credentials.privateKeyPem,
    ca: [...roots],
    ciphers: meshCiphers,
    ...tlsParameterOptions(parameters),
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext: createHash('sha256').update(roots.join('')).digest('hex').slice(0, 32),
  };
}
