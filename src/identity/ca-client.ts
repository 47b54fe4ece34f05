import { Agent, request } from 'node:https';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { type CredentialParts, credentialsOf } from './credentials.ts';
import type { Credentials } from './source.ts';
import { meshCiphers } from './tls-options.ts';

/** Largest answer of a certificate authority that is read. */
const maxAnswerBytes = 262_144;

/** One request for a certificate. */
export interface CertificateRequest {
  /** `https://ca.example:8443`. */
  readonly url: URL;
  /** PEM; the authority's server certificate must chain to one of these. */
  readonly trustRoots: readonly string[];
  readonly csrPem: string;
  readonly privateKeyPem: string;
  /** How the caller proves who it is: a join token, or the certificate that it has. */
  readonly proof: { readonly token: string } | { readonly credentials: Credentials };
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What an authority answered: credentials, or why there are none. */
export type CertificateAnswer =
  | { readonly credentials: Credentials }
  | { /** HTTP status. */ readonly status: number; readonly problem: MeshError };

/**
 * Sends a certificate request to an inmesh certificate authority. The server's certificate is
 * verified against `trustRoots` and the host name. What comes back is checked for form only.
 *
 * @throws MeshError `ERR_MESH_CA` when the authority cannot be reached.
 */
export async function requestCertificate(options: CertificateRequest): Promise<CertificateAnswer> {
  const { proof, url } = options;
  const token = 'token' in proof ? { token: proof.token } : {};
  const answer = await post(options, JSON.stringify({ csr: options.csrPem, ...token }));
  const refused = (message: string): CertificateAnswer => ({
    status: answer.status,
    problem: new MeshError('ERR_MESH_CA', `${url.origin} ${message}`),
  });
  const body = parse(answer.body);
  if (answer.status !== 200) {
    const reason = [body?.['error'], body?.['message']].filter((part) => typeof part === 'string').join(': ');
    return refused(`answered ${answer.status}${reason === '' ? '' : `: ${printable(reason)}`}`);
  }
  const parts = partsOf(body);
  if (parts === undefined) return refused('gave an answer that is not a certificate');
  try {
    return { credentials: credentialsOf({ ...parts, privateKeyPem: options.privateKeyPem }) };
  } catch (error) {
    return refused(`gave a certificate that is unusable: ${printable((error as Error).message)}`);
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function partsOf(body: Record<string, unknown> | undefined): Omit<CredentialParts, 'privateKeyPem'> | undefined {
  const chain = body?.['certificateChain'];
  const bundles = body?.['trustBundles'];
  if (typeof chain !== 'string' || typeof bundles !== 'object' || bundles === null) return undefined;
  const trustBundles = new Map<string, readonly string[]>();
  for (const [trustDomain, roots] of Object.entries(bundles)) {
    if (!Array.isArray(roots) || !roots.every((root) => typeof root === 'string')) return undefined;
    trustBundles.set(trustDomain, roots);
  }
  return { certificateChainPem: chain, trustBundles };
}

// What a stranger answered goes into logs: one line, bounded.
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 300);
}

function post(options: CertificateRequest, body: string): Promise<{ status: number; body: string }> {
  const { url, proof, signal } = options;
  const certificate =
    'credentials' in proof
      ? { cert: proof.credentials.certificateChainPem, key: proof.credentials.privateKeyPem }
      : undefined;
  // An agent of its own: no connection and no TLS session may outlive the identity that opened it.
  const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL('v1/certificates', url),
      {
        method: 'POST',
        agent,
        ca: [...options.trustRoots],
        ...certificate,
        minVersion: 'TLSv1.2',
        ciphers: meshCiphers,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal,
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxAnswerBytes) answer.destroy(new Error(`an answer of more than ${maxAnswerBytes} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', fail);
        answer.on('end', () => {
          stopWaiting();
          resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') });
        });
      },
    );
    // Covers everything from the connection to the last byte, unlike the socket's idle timeout.
    const stopWaiting = options.clock.after(options.timeoutMs, () =>
      outgoing.destroy(new Error(`no complete answer within ${options.timeoutMs} ms`)),
    );
    function fail(cause: unknown): void {
      stopWaiting();
      const reason = cause instanceof Error ? cause.message : String(cause);
      reject(new MeshError('ERR_MESH_CA', `${url.origin} cannot be reached: ${printable(reason)}`, { cause }));
    }
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}
