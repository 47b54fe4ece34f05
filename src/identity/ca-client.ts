import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { askAuthority, printable } from './ca-http.ts';
import { type CredentialParts, credentialsOf } from './credentials.ts';
import type { Credentials } from './source.ts';

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
  const answer = await askAuthority({
    ...options,
    path: 'v1/certificates',
    body: JSON.stringify({ csr: options.csrPem, ...token }),
    ...('credentials' in proof ? { credentials: proof.credentials } : {}),
  });
  const refused = (message: string): CertificateAnswer => ({
    status: answer.status,
    problem: new MeshError('ERR_MESH_CA', `${url.origin} ${message}`),
  });
  const body = parseObject(answer.body);
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

/** The JSON object that a text is; nothing for anything else. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function partsOf(body: Record<string, unknown> | undefined): Omit<CredentialParts, 'privateKeyPem'> | undefined {
  const chain = body?.['certificateChain'];
  const trust = body === undefined ? undefined : readTrust(body);
  return typeof chain !== 'string' || trust === undefined ? undefined : { certificateChainPem: chain, ...trust };
}

/** Roots and revocation lists by trust domain, as an authority hands them out. */
export type AuthorityTrust = Pick<CredentialParts, 'trustBundles' | 'crlsByTrustDomain'>;

/** Reads `trustBundles` and `crls` of an answer; nothing when they have another form. */
export function readTrust(body: Record<string, unknown>): AuthorityTrust | undefined {
  const trustBundles = textsByDomain(body['trustBundles']);
  if (trustBundles === undefined || body['crls'] === undefined) return trustBundles && { trustBundles };
  const crlsByTrustDomain = textsByDomain(body['crls']);
  return crlsByTrustDomain && { trustBundles, crlsByTrustDomain };
}

function textsByDomain(value: unknown): ReadonlyMap<string, readonly string[]> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found = new Map<string, readonly string[]>();
  for (const [trustDomain, texts] of Object.entries(value)) {
    if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string')) return undefined;
    found.set(trustDomain, texts);
  }
  return found;
}
