import { isLoopbackHost } from './special-addresses.ts';
import { parseStrictJson } from './strict-json.ts';

const suffix = '/.well-known/openid-configuration';
const limits = { maxLength: 262_144, maxDepth: 16, maxValues: 10_000 } as const;

/**
 * Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4). One slash at its
 * end is left out, as in Istio. Unlike in Istio it must be an https URL, as section 2 of the
 * specification demands: keys that anybody on the way may exchange verify nothing. On this host http
 * will do.
 *
 * @throws Error when an issuer cannot be asked
 */
export function discoveryUrl(issuer: string): string {
  const url = URL.parse(issuer);
  const what = 'keys cannot be discovered at this issuer, set jwksUri or jwks';
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new Error(`${what}: it is no https URL`);
  }
  if (url.protocol === 'http:' && !isLocal(url)) throw new Error(`${what}: it is an http URL`);
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(issuer)) {
    throw new Error(`${what}: its URL has a query or a fragment`);
  }
  if (url.username !== '' || url.password !== '') throw new Error(`${what}: its URL has a user or a password`);
  return `${issuer.endsWith('/') ? issuer.slice(0, -1) : issuer}${suffix}`;
}

/**
 * The `jwks_uri` of such a document. The issuer in it must be the configured one, character by
 * character (section 4.3), which Istio does not look at.
 *
 * @throws Error that quotes nothing of the document
 */
export function readDiscovery(text: string, issuer: string): string {
  let document: unknown;
  try {
    document = parseStrictJson(text, limits);
  } catch (error) {
    throw new Error(`the document of the issuer cannot be read: ${(error as Error).message}`);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new Error('the document of the issuer is no object');
  }
  const { issuer: named, jwks_uri: uri } = document as Readonly<Record<string, unknown>>;
  if (named !== issuer) {
    const slash = named === `${issuer}/` || `${String(named)}/` === issuer;
    const why = slash ? 'the two differ in a slash at the end' : 'the issuer in it must be the configured one';
    throw new Error(`the document of the issuer is that of another issuer: ${why}`);
  }
  const url = typeof uri === 'string' ? URL.parse(uri) : null;
  if (url === null) throw new Error('the document of the issuer has no jwks_uri');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocalIssuer(issuer) && isLocal(url))) {
    throw new Error('the jwks_uri in the document of the issuer is no https URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw new Error('the jwks_uri in the document of the issuer has a user or a password');
  }
  return url.href;
}

/** Whether an issuer is on this host, and may name it. */
export function isLocalIssuer(issuer: string): boolean {
  const url = URL.parse(issuer);
  return url !== null && isLocal(url);
}

function isLocal(url: URL): boolean {
  return isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''));
}
