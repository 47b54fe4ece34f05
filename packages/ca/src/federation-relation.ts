import { isTrustDomain, parseSpiffeId, parseStrictJson, readPemCertificates } from 'inmesh/identity';
import { httpsUrl } from './fetch-text.ts';
import { invalid } from './options.ts';

/**
 * Where the bundle of another trust domain is fetched, and how its endpoint proves that it is the
 * right one (SPIFFE Federation, 5.1 and 5.2). One-way: for both to trust each other, each has one.
 */
export interface FederationRelation {
  /** Default: the trust domain. Several relations may be of one trust domain, whose roots add up. */
  readonly name?: string;
  readonly trustDomain: string;
  readonly url: string;
  /** `https_web`: a certificate for the host name. `https_spiffe`: an X.509-SVID of {@link endpointSpiffeId}. */
  readonly profile: 'https_web' | 'https_spiffe';
  /** Of `https_spiffe`. Of another trust domain than the bundle, if that one is known by a relation of its own. */
  readonly endpointSpiffeId?: string;
  /** Of `https_web`: roots (PEM) in place of those that Node trusts. */
  readonly caPem?: string;
  /**
   * Needed when the trust domain is the authority's own: another authority of the same trust
   * domain, a second cluster say. Its roots are handed out beside the own ones.
   */
  readonly shared?: boolean;
}

/** A relation whose fields were checked. */
export interface CheckedRelation extends FederationRelation {
  readonly name: string;
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,99}$/;
const members = ['name', 'trustDomain', 'url', 'profile', 'endpointSpiffeId', 'caPem', 'shared'];

/**
 * Refuses what can never work or is not what somebody would have meant.
 *
 * @param own the trust domain of the authority
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function checkRelation(relation: FederationRelation, own: string): CheckedRelation {
  const { caPem, endpointSpiffeId, profile, shared = false, trustDomain, url } = relation;
  const { name = trustDomain } = relation;
  if (!isTrustDomain(trustDomain)) throw invalid('federation: trustDomain', 'expected a trust domain', trustDomain);
  if (typeof name !== 'string' || !namePattern.test(name)) {
    throw invalid('federation: name', 'expected up to 100 of a-z, 0-9, dot, dash and underscore', name);
  }
  if (trustDomain === own && !shared) {
    throw invalid('federation: trustDomain', `${own} is the own one; say shared if another authority is of it, too`);
  }
  if (trustDomain !== own && shared) throw invalid('federation: shared', `${trustDomain} is not the own one, ${own}`);
  try {
    httpsUrl(url);
  } catch (error) {
    throw invalid('federation: url', (error as Error).message, url);
  }
  if (profile === 'https_web') {
    if (endpointSpiffeId !== undefined) throw invalid('federation: endpointSpiffeId', 'it belongs to https_spiffe');
    if (caPem !== undefined) checkPem(caPem);
  } else if (profile === 'https_spiffe') {
    if (caPem !== undefined) throw invalid('federation: caPem', 'it belongs to https_web; https_spiffe has a bundle');
    if (!isWorkload(endpointSpiffeId)) {
      throw invalid(
        'federation: endpointSpiffeId',
        'https_spiffe needs the SPIFFE ID of the endpoint',
        endpointSpiffeId,
      );
    }
  } else throw invalid('federation: profile', 'expected https_web or https_spiffe', profile);
  return { ...relation, name };
}

/** Trust domain of what has to be known to speak to the endpoint; nothing where Web PKI tells. */
export function endpointDomain({ endpointSpiffeId }: FederationRelation): string | undefined {
  return endpointSpiffeId === undefined ? undefined : parseSpiffeId(endpointSpiffeId).trustDomain;
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` */
export function parseRelation(text: string, own: string): CheckedRelation {
  let value: unknown;
  try {
    value = parseStrictJson(text, { maxLength: 1_048_576, maxDepth: 4 });
  } catch (error) {
    throw invalid('federation', `a relation cannot be read: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null) throw invalid('federation', 'expected an object', value);
  for (const [name, member] of Object.entries(value)) {
    if (!members.includes(name)) throw invalid(`federation: ${name}`, `expected one of ${members.join(', ')}`);
    const type = name === 'shared' ? 'boolean' : 'string';
    if (typeof member !== type) throw invalid(`federation: ${name}`, `expected a ${type}`, member);
  }
  return checkRelation(value as unknown as FederationRelation, own);
}

function isWorkload(uri: string | undefined): boolean {
  try {
    return uri !== undefined && parseSpiffeId(uri).path !== '';
  } catch {
    return false;
  }
}

function checkPem(pem: string): void {
  try {
    readPemCertificates(pem, 'the roots of the endpoint');
  } catch (error) {
    throw invalid('federation: caPem', (error as Error).message);
  }
}
