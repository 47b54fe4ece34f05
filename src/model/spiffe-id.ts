import { MeshError } from '../errors.ts';

/** A SPIFFE ID, parsed once; compare fields, never search text. */
export interface SpiffeId {
  /** The whole URI. */
  readonly uri: string;
  readonly trustDomain: string;
  /** Path with its leading slash; '' for the ID of a trust domain itself (a CA). */
  readonly path: string;
  /** From Istio's form `/ns/<namespace>/sa/<service account>`; absent for other forms. */
  readonly namespace?: string;
  readonly serviceAccount?: string;
}

const trustDomainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

/** An identity of Istio has two of them. */
const maxNames = 16;

/** Whether this is the name of a trust domain: `cluster.local`, without scheme and path. */
export function isTrustDomain(name: unknown): boolean {
  return typeof name === 'string' && trustDomainPattern.test(name);
}

/**
 * Parses and checks a SPIFFE ID (SPIFFE-ID standard, section 2): scheme `spiffe`, a trust domain
 * of `[a-z0-9._-]`, path segments of `[A-Za-z0-9._-]` that are neither empty nor dots, no query,
 * fragment, port, user, percent-encoding or trailing slash, at most 2,048 bytes; and, stricter than the standard, at
 * most 16 segments `ns` and `sa`.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` with the reason.
 */
export function parseSpiffeId(uri: string): SpiffeId {
  const refuse = (reason: string): never => {
    throw new MeshError('ERR_MESH_PEER_IDENTITY', `not a SPIFFE ID: ${reason}: ${JSON.stringify(uri.slice(0, 200))}`);
  };
  if (uri.length > 2_048) refuse('longer than 2,048 bytes');
  if (!uri.startsWith('spiffe://')) refuse('the scheme is not spiffe');
  const rest = uri.slice('spiffe://'.length);
  const slash = rest.indexOf('/');
  const trustDomain = slash === -1 ? rest : rest.slice(0, slash);
  const path = slash === -1 ? '' : rest.slice(slash);
  if (!isTrustDomain(trustDomain)) refuse('bad trust domain');
  if (path !== '') {
    for (const segment of path.slice(1).split('/')) {
      if (!segmentPattern.test(segment) || segment === '.' || segment === '..') refuse('bad path segment');
    }
  }
  const parts = path.split('/');
  // Policies pair the names behind all of these: whoever issues identities is not to choose what that costs.
  if (parts.filter((part) => part === 'ns' || part === 'sa').length > maxNames) refuse('too many segments ns and sa');
  const istio = parts.length === 5 && parts[1] === 'ns' && parts[3] === 'sa';
  return {
    uri,
    trustDomain,
    path,
    ...(istio ? { namespace: parts[2] as string, serviceAccount: parts[4] as string } : {}),
  };
}
