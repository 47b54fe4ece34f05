import { MeshError } from '../errors.ts';
import { parseSpiffeId, type SpiffeId } from '../model/spiffe-id.ts';
import type { CertificateFacts } from './certificate.ts';

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/** What is wrong with a peer's certificate, as an error. */
export function peerProblem(reason: string, cause?: unknown): MeshError {
  return new MeshError('ERR_MESH_PEER_IDENTITY', `peer identity refused: ${reason}`, { cause });
}

/**
 * Checks a leaf against the SPIFFE X509-SVID standard (sections 2, 4 and 5.2) and returns its ID.
 * Node's TLS checks dates, chain and extended key usage; every rule here is one that it does not.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` naming what was expected and what was presented.
 */
export function checkLeaf(facts: CertificateFacts): SpiffeId {
  const { uris, keyUsage } = facts;
  if (uris.length !== 1) {
    const shown = uris.slice(0, 3).map((uri) => JSON.stringify(uri.slice(0, 100)));
    throw peerProblem(`expected exactly one URI name, presented ${uris.length}${shown.map((s) => ` ${s}`).join(',')}`);
  }
  const id = parseSpiffeId(uris[0] as string);
  const of = `of ${id.uri}`;
  if (id.path === '') throw peerProblem(`expected a workload, presented the ID of a trust domain: ${id.uri}`);
  if (facts.ca) throw peerProblem(`expected a leaf, the certificate ${of} is that of an authority (cA is true)`);
  if (keyUsage === undefined) throw peerProblem(`expected keyUsage, the certificate ${of} has none`);
  if (!keyUsage.critical) throw peerProblem(`expected a critical keyUsage, that ${of} is not critical`);
  if (!keyUsage.digitalSignature) throw peerProblem(`expected keyUsage digitalSignature, that ${of} lacks it`);
  if (keyUsage.keyCertSign || keyUsage.crlSign) {
    throw peerProblem(`expected a leaf, the keyUsage ${of} has keyCertSign or cRLSign`);
  }
  checkExtendedUsage(facts, of);
  checkCritical(facts, of);
  return id;
}

/**
 * Checks a certificate that signed the one below it: RFC 5280 6.1.4 and X509-SVID 4.
 *
 * @param below number of authorities between this one and the leaf
 */
export function checkAuthority(facts: CertificateFacts, below: number, leaf: SpiffeId, of: string): void {
  if (!facts.hasBasicConstraints || !facts.ca) throw peerProblem(`${of} signed a certificate, but is not an authority`);
  if (facts.keyUsage?.keyCertSign !== true) throw peerProblem(`${of} signed a certificate without keyCertSign`);
  if (facts.pathLength !== undefined && below > facts.pathLength) {
    throw peerProblem(`${of} allows ${facts.pathLength} authorities below itself, presented ${below}`);
  }
  checkExtendedUsage(facts, `of ${of}`);
  checkCritical(facts, `of ${of}`);
  const { permittedUris, excludedUris } = facts;
  const inside = (constraint: string): boolean => withinConstraint(leaf.trustDomain, constraint);
  if (permittedUris !== undefined && !permittedUris.some(inside)) {
    throw peerProblem(`${of} may sign for ${permittedUris.join(', ')} only, presented ${leaf.uri}`);
  }
  if (excludedUris?.some(inside) === true) {
    throw peerProblem(`${of} must not sign for ${excludedUris.join(', ')}, presented ${leaf.uri}`);
  }
}

// RFC 5280 4.2.1.10: the constraint names a host, or with a leading dot everything below it.
function withinConstraint(host: string, constraint: string): boolean {
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint;
}

function checkExtendedUsage({ extendedKeyUsage }: CertificateFacts, of: string): void {
  if (extendedKeyUsage === undefined) return;
  if (!extendedKeyUsage.includes(serverAuth) || !extendedKeyUsage.includes(clientAuth)) {
    throw peerProblem(`expected serverAuth and clientAuth, the extKeyUsage ${of} is ${extendedKeyUsage.join(', ')}`);
  }
}

function checkCritical({ unknownCritical }: CertificateFacts, of: string): void {
  if (unknownCritical.length > 0) {
    throw peerProblem(`the certificate ${of} has critical extensions that are unknown: ${unknownCritical.join(', ')}`);
  }
}
