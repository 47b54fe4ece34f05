import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import {
  type Credentials,
  checkCredentials,
  credentialsOf,
  derTag,
  expectTag,
  parseSpiffeId,
  readDer,
  readDerList,
} from 'inmesh/identity';
import { bounds } from './bounds.ts';
import { attributeCrls, crlPem, type RevocationLists } from './crls.ts';
import type { RawX509Svid, X509BundlesMessage, X509SvidMessage } from './messages.ts';
import { badAnswer, quoted, reasonOf } from './problem.ts';

/** Roots by trust domain (`example.org`, not its SPIFFE ID). A trust domain may have none: then nobody of it is trusted. */
export type X509Bundles = ReadonlyMap<string, readonly X509Certificate[]>;

/** One identity of this workload: certificates and their key, which belong together. */
export interface X509Svid {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** What the operator says this identity is for; '' for nothing. */
  readonly hint: string;
  /** Leaf first, then intermediates. */
  readonly certificates: readonly X509Certificate[];
  readonly privateKey: KeyObject;
  /** Validity of the leaf, milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Everything that one answer holds. It replaces whatever was there before. */
export interface X509Context {
  /** At least one; the first is the default (SPIFFE Workload API, section 8). */
  readonly svids: readonly X509Svid[];
  /** Of the own trust domains, and of those that are federated with. */
  readonly bundles: X509Bundles;
  /** Where a trust domain has lists, its certificates are checked against them. */
  readonly crls: RevocationLists;
}

/** The trust bundles that a workload without an identity of its own gets. */
export interface X509BundleSet {
  readonly bundles: X509Bundles;
  /** Where a trust domain has lists, its certificates are checked against them. */
  readonly crls: RevocationLists;
}

/**
 * Verifies a whole answer: every SVID has the ID that is announced, a key that is its own, valid
 * dates, the shape of an X509-SVID, and roots; every bundle is one. One thing wrong refuses it all,
 * since an answer is one state and half of it is another.
 *
 * @param now milliseconds since the epoch
 * @throws MeshError `ERR_MESH_WORKLOAD_API` naming the field; the message never holds key material
 */
export function x509ContextOf(message: X509SvidMessage, now: number): X509Context {
  if (message.svids.length === 0) throw badAnswer('svids is empty');
  const bundles = new Map<string, readonly X509Certificate[]>();
  const svids = message.svids.map((raw, i) =>
    inField(`svids[${i}]`, () => {
      const { svid, bundle } = svidOf(raw, now);
      addOwnBundle(bundles, svid.trustDomain, bundle);
      return svid;
    }),
  );
  for (const [key, bytes] of message.federatedBundles) {
    inField(`federated_bundles[${quoted(key)}]`, () => {
      const trustDomain = trustDomainOf(key);
      if (bundles.has(trustDomain)) throw badAnswer('this trust domain has a bundle already');
      bundles.set(trustDomain, certificatesOf(bytes, bounds.bundleCertificates));
    });
  }
  const known = new Map([...bundles].map(([domain, roots]) => [domain, [...roots, ...intermediatesOf(svids, domain)]]));
  return { svids, bundles, crls: crlsOf(message.crls, known) };
}

/** What signs in a trust domain as far as the own chains show it. */
function intermediatesOf(svids: readonly X509Svid[], domain: string): readonly X509Certificate[] {
  return svids.filter(({ trustDomain }) => trustDomain === domain).flatMap(({ certificates }) => certificates.slice(1));
}

/** The same for bundles alone. */
export function x509BundlesOf(message: X509BundlesMessage): X509BundleSet {
  if (message.bundles.size === 0) throw badAnswer('bundles is empty');
  const bundles = new Map<string, readonly X509Certificate[]>();
  for (const [key, bytes] of message.bundles) {
    inField(`bundles[${quoted(key)}]`, () => {
      const trustDomain = trustDomainOf(key);
      if (bundles.has(trustDomain)) throw badAnswer('this trust domain has a bundle already');
      bundles.set(trustDomain, certificatesOf(bytes, bounds.bundleCertificates));
    });
  }
  return { bundles, crls: crlsOf(message.crls, bundles) };
}

function svidOf(raw: RawX509Svid, now: number): { svid: X509Svid; bundle: readonly X509Certificate[] } {
  for (const field of ['spiffeId', 'chain', 'key', 'bundle'] as const) {
    if (raw[field].length === 0) throw badAnswer(`${wireName[field]} is empty`);
  }
  const { trustDomain } = parseSpiffeId(raw.spiffeId);
  const hint = checkHint(raw.hint);
  const certificates = inField('x509_svid', () => certificatesOf(raw.chain, bounds.chainCertificates));
  const bundle = inField('bundle', () => certificatesOf(raw.bundle, bounds.bundleCertificates));
  const privateKey = inField('x509_svid_key', () => keyOf(raw.key));
  // The very checks that credentials of every other source pass.
  const credentials = credentialsOf({
    certificateChainPem: pem(certificates),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    trustBundles: new Map([[trustDomain, bundle.map(String)]]),
  });
  checkCredentials(credentials, { now, spiffeId: raw.spiffeId });
  const { notBefore, notAfter } = credentials;
  return {
    svid: { spiffeId: raw.spiffeId, trustDomain, hint, certificates, privateKey, notBefore, notAfter },
    bundle,
  };
}

const wireName = { spiffeId: 'spiffe_id', chain: 'x509_svid', key: 'x509_svid_key', bundle: 'bundle' } as const;

function addOwnBundle(
  bundles: Map<string, readonly X509Certificate[]>,
  trustDomain: string,
  bundle: readonly X509Certificate[],
): void {
  const known = bundles.get(trustDomain);
  if (known !== undefined && pem(known) !== pem(bundle)) {
    throw badAnswer(`bundle is another than that of an earlier SVID of the trust domain ${trustDomain}`);
  }
  bundles.set(trustDomain, bundle);
}

/** Trust domains are named by their SPIFFE ID, which has no path. */
export function trustDomainOf(key: string): string {
  const { path, trustDomain } = parseSpiffeId(key);
  if (path !== '') throw badAnswer('expected the SPIFFE ID of a trust domain, without a path');
  return trustDomain;
}

/** Hints are of the operator's choice, but not of any length. */
export function checkHint(hint: string): string {
  const bytes = Buffer.byteLength(hint);
  if (bytes > bounds.hintBytes) throw badAnswer(`hint has ${bytes} bytes, expected ${bounds.hintBytes} at most`);
  return hint;
}

/** Certificates that follow each other, DER. */
function certificatesOf(bytes: Uint8Array, max: number): readonly X509Certificate[] {
  return readDerList(bytes, max).map((node, i) => {
    const what = `certificate ${i + 1}`;
    expectTag(node, derTag.sequence, what);
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(node.bytes);
    } catch (cause) {
      throw badAnswer(`${what} cannot be read`, cause);
    }
    // Node looks for PEM first, wherever in the bytes it is.
    if (!certificate.raw.equals(node.bytes)) throw badAnswer(`${what} is not DER`);
    return certificate;
  });
}

function keyOf(bytes: Uint8Array): KeyObject {
  try {
    // OpenSSL takes no notice of what follows a key.
    readDer(bytes);
    return createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' });
  } catch {
    // Without the cause: an error of the key parser has no business in a log.
    throw badAnswer('expected an unencrypted PKCS#8 private key, DER');
  }
}

function crlsOf(crls: readonly Uint8Array[], authorities: X509Bundles): RevocationLists {
  return inField('crl', () => attributeCrls(crls, authorities));
}

function pem(certificates: readonly X509Certificate[]): string {
  return certificates.map(String).join('');
}

function inField<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw badAnswer(`${field}: ${reasonOf(cause).replace(/^the Workload API sent an unusable answer: /, '')}`, cause);
  }
}

/** Which of several SVIDs is meant. Nothing: the default, which is the first. */
export interface SvidChoice {
  /** The SVID with this hint; the first, if several have it. */
  readonly hint?: string;
  /** The SVID with this SPIFFE ID. */
  readonly spiffeId?: string;
}

/**
 * The SVID that is meant.
 *
 * @throws MeshError `ERR_MESH_WORKLOAD_API` when there is none such: it is never replaced by another
 */
export function selectSvid<S extends { readonly hint: string; readonly spiffeId: string }>(
  svids: readonly S[],
  choice: SvidChoice = {},
): S {
  const { hint, spiffeId } = choice;
  const found = svids.find(
    (svid) => (hint === undefined || svid.hint === hint) && (spiffeId === undefined || svid.spiffeId === spiffeId),
  );
  if (found !== undefined) return found;
  const wanted = [
    ...(hint === undefined ? [] : [`the hint ${quoted(hint)}`]),
    ...(spiffeId === undefined ? [] : [`the ID ${quoted(spiffeId)}`]),
  ];
  const got = svids.slice(0, 10).map((svid) => svid.spiffeId + (svid.hint === '' ? '' : ` (${quoted(svid.hint)})`));
  throw badAnswer(`expected an SVID with ${wanted.join(' and ') || 'any ID'}, got ${got.join(', ') || 'none'}`);
}

/**
 * Credentials as inmesh and its TLS helpers take them: one SVID, with the roots and revocation
 * lists of all trust domains.
 *
 * @example
 * const context = await client.fetchX509Svids();
 * tls.createSecureContext(meshTlsOptions(credentialsOfSvid(context)));
 */
export function credentialsOfSvid(context: X509Context, choice?: SvidChoice): Credentials {
  const { certificates, notAfter, notBefore, privateKey, spiffeId } = selectSvid(context.svids, choice);
  return {
    spiffeId,
    certificateChainPem: pem(certificates),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    ...trustOf(context),
    notBefore,
    notAfter,
  };
}

/** The roots and revocation lists of an answer, as credentials have them. */
export function trustOf({ bundles, crls }: X509BundleSet): Pick<Credentials, 'trustBundles' | 'crlsByTrustDomain'> {
  return {
    trustBundles: new Map([...bundles].map(([domain, roots]) => [domain, [...new Set(roots.map(String))]])),
    ...(crls.size === 0
      ? {}
      : { crlsByTrustDomain: new Map([...crls].map(([domain, lists]) => [domain, lists.map(crlPem)])) }),
  };
}
