import {
  type Credentials,
  checkCredentials,
  credentialsOf,
  MeshError,
  parseSpiffeId,
  readPemCertificates,
  verifyPeer,
  withoutRoots,
} from 'inmesh/identity';

/** What istiod answered, in parts. */
export interface Issued {
  /** Leaf first, then intermediates, PEM. */
  readonly chainPem: string;
  readonly keyPem: string;
  /** Roots of the own trust domain, PEM. */
  readonly rootsPem: string;
}

/**
 * Takes the last element for the roots, as istio-agent does, and what is before it for the chain.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function issuedOf(elements: readonly string[], keyPem: string): Issued {
  if (elements.length < 2) {
    const message = `istiod answered ${elements.length} certificates, expected a chain and its root at least`;
    throw new MeshError('ERR_MESH_NO_IDENTITY', message);
  }
  // An element may lack the line end at its end, and older releases put several certificates into one.
  const chain = elements.slice(0, -1).flatMap((text, i) => readPemCertificates(text, `certificate ${i + 1} of istiod`));
  const roots = readPemCertificates(elements.at(-1) as string, 'the root of istiod');
  return { chainPem: chain.map(String).join(''), keyPem, rootsPem: roots.map(String).join('') };
}

/**
 * Credentials of what was issued, with further roots.
 *
 * @param spiffeId who we must be
 * @throws MeshError `ERR_MESH_NO_IDENTITY` or `ERR_MESH_PEER_IDENTITY` saying what is wrong
 */
export function credentialsOfIssued(
  { chainPem, keyPem, rootsPem }: Issued,
  spiffeId: string,
  extraRoots: ReadonlyMap<string, readonly string[]>,
  now: number,
): Credentials {
  const own = parseSpiffeId(spiffeId).trustDomain;
  const trustBundles = new Map<string, readonly string[]>([[own, [rootsPem, ...(extraRoots.get(own) ?? [])]]]);
  for (const [domain, roots] of extraRoots) if (domain !== own) trustBundles.set(domain, roots);
  const credentials = withoutRoots(
    credentialsOf({ certificateChainPem: chainPem, privateKeyPem: keyPem, trustBundles }),
  );
  checkCredentials(credentials, { now, spiffeId });
  // With the roots that came along and no others: what peers have is theirs.
  verifyPeer(readPemCertificates(credentials.certificateChainPem, 'certificate chain'), credentials.trustBundles, now);
  return credentials;
}
