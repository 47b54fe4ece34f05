import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { checkRevocation, hasRevocations } from './revocation.ts';
import { checkLeaf, peerProblem } from './svid.ts';
import {
  allRoots,
  checkDates,
  checkLength,
  findPath,
  maxChainLength,
  type ReadCertificate,
  type TrustBundles,
  validityOf,
  withFacts,
} from './trust.ts';

/** Who a peer is, as its certificate proves. Has all fields of a `Peer` of the pipeline. */
export interface PeerIdentity {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** From Istio's `/ns/<namespace>/sa/<service account>`; absent for other SPIFFE IDs. */
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** While the leaf, every authority above it and their revocation lists are valid, milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Verifies a peer's certificates, leaf first: the SPIFFE X509-SVID rules for leaves, dates, and a
 * chain to a root of the bundle of the leaf's own trust domain, on which nothing is revoked.
 *
 * @param now milliseconds since the epoch
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` naming what was expected and what was presented.
 */
export function verifyPeer(chain: readonly X509Certificate[], bundles: TrustBundles, now: number): PeerIdentity {
  const leaf = chain[0];
  if (leaf !== undefined) checkLength(chain);
  const known = leaf && proven.get(bundles)?.get(leaf.fingerprint256);
  if (known !== undefined && known.notBefore <= now && now <= known.notAfter) return known;
  const checked = checkLeafOf(chain, now);
  const path = findPath(checked.certificate, chain.slice(1), checked.id, bundles, now);
  const peer = identityOf(checked, path, bundles, now);
  remember(bundles, (leaf as X509Certificate).fingerprint256, peer);
  return peer;
}

/**
 * What was proven stays proven under the same bundles and lists while it is valid, whoever presents
 * it: the key is proven in each handshake. Many connections of few peers cost few signatures.
 */
const proven = new WeakMap<TrustBundles, Map<string, PeerIdentity>>();
const maxProven = 1_024;

function remember(bundles: TrustBundles, fingerprint: string, peer: PeerIdentity): void {
  let known = proven.get(bundles);
  if (known === undefined) proven.set(bundles, (known = new Map()));
  if (known.size >= maxProven) known.clear();
  known.set(fingerprint, peer);
}

interface CheckedLeaf {
  readonly certificate: ReadCertificate;
  readonly id: SpiffeId;
}

function checkLeafOf([first]: readonly X509Certificate[], now: number): CheckedLeaf {
  if (first === undefined) throw peerProblem('no certificate was presented');
  const certificate = withFacts(first);
  const id = checkLeaf(certificate.facts);
  checkDates(first, now, `the certificate of ${id.uri}`);
  return { certificate, id };
}

function identityOf(
  { certificate, id }: CheckedLeaf,
  path: readonly ReadCertificate[],
  bundles: TrustBundles,
  now: number,
): PeerIdentity {
  const spans = [certificate, ...path].map(({ x509 }) => validityOf(x509));
  let below = certificate;
  const listsEnd = path.map((issuer) => {
    const question = { certificate: below.x509, issuer: issuer.x509, of: id.uri };
    below = issuer;
    return checkRevocation(bundles, id.trustDomain, question, now);
  });
  const { uri: spiffeId, trustDomain, namespace, serviceAccount } = id;
  return {
    spiffeId,
    trustDomain,
    ...(namespace === undefined ? {} : { namespace }),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
    notBefore: Math.max(...spans.map((span) => span.notBefore)),
    notAfter: Math.min(...spans.map((span) => span.notAfter), ...listsEnd),
  };
}

/** What is known of a connection. The chain is kept: Node does not promise to show it twice. */
interface KnownPeer {
  readonly chain: readonly X509Certificate[];
  readonly bundles: TrustBundles;
  readonly peer: PeerIdentity | MeshError;
}
const peers = new WeakMap<TLSSocket, KnownPeer>();

/** Chains that were seen as soon as the handshake was done: see {@link seeChain}. */
const seen = new WeakMap<TLSSocket, readonly X509Certificate[]>();

/**
 * Keeps the chain that the other end presents, for {@link peerOfSocket}. Call it before the server
 * of Node has looked at the connection, in a listener for its `secure` that is ahead of all others:
 * some releases of Node take the chain away when they do (nodejs/node#65579).
 */
export function seeChain(socket: TLSSocket): void {
  seen.set(socket, chainOf(socket.getPeerCertificate(true)));
}

/**
 * How long a connection may go on after the certificate that opened it has expired, milliseconds.
 * A handshake has no such grace; this is for the requests that are on their way when it happens.
 */
export const expiryGraceMs = 60_000;

/**
 * The identity of the other end of a TLS connection; nothing when it presented no certificate.
 * Verified once per connection and bundle: later calls compare two numbers, so that it may be
 * called for every request. A connection whose root was removed from the bundle, or whose
 * certificate expired more than {@link expiryGraceMs} ago, is refused from then on.
 *
 * Call it first when the handshake is done.
 *
 * @param verifiedBy the bundles that the TLS context of the handshake was made of, where they may be
 *   others than those of now: roots may have changed meanwhile. An empty map where they are not known,
 *   as on a server that trusts other authorities too: then TLS has proven nothing of the mesh, and the
 *   whole chain must be seen. Default: `bundles`.
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` when what was presented does not prove an identity.
 */
export function peerOfSocket(
  socket: TLSSocket,
  bundles: TrustBundles,
  clock: Clock,
  verifiedBy: TrustBundles = bundles,
): PeerIdentity | undefined {
  const now = clock.wallNow();
  let known = peers.get(socket);
  if (known === undefined || known.bundles !== bundles) {
    const chain = known?.chain ?? seen.get(socket) ?? chainOf(socket.getPeerCertificate(true));
    seen.delete(socket);
    if (chain.length === 0) return undefined;
    peers.set(socket, (known = { chain, bundles, peer: judge(socket, chain, bundles, now, verifiedBy, known) }));
  }
  const { peer } = known;
  if (peer instanceof MeshError) throw peer;
  if (now > peer.notAfter + expiryGraceMs) {
    throw peerProblem(`the certificate of ${peer.spiffeId} expired at ${new Date(peer.notAfter).toISOString()}`);
  }
  return peer;
}

/**
 * Until when the certificates that the other end of a connection proved itself with are valid,
 * milliseconds since the epoch: as {@link peerOfSocket} found when it was asked last. Infinity where
 * it never was, or found nobody.
 */
export function trustedUntil(socket: object): number {
  const peer = peers.get(socket as TLSSocket)?.peer;
  return peer === undefined || peer instanceof MeshError ? Number.POSITIVE_INFINITY : peer.notAfter;
}

function judge(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  bundles: TrustBundles,
  now: number,
  verifiedBy: TrustBundles,
  before: KnownPeer | undefined,
): PeerIdentity | MeshError {
  if (!socket.authorized) {
    const reason: unknown = socket.authorizationError;
    return peerProblem(`TLS did not verify the certificate: ${String(reason ?? 'unknown reason').slice(0, 200)}`);
  }
  // What was refused once stays refused, whatever is trusted later: the peer can connect again.
  if (before?.peer instanceof MeshError) return before.peer;
  // An open connection is judged as of its last valid moment: the grace says when that is too long ago.
  const at = before === undefined ? now : Math.min(now, before.peer.notAfter);
  try {
    const leaf = checkLeafOf(chain, at);
    return chain.length === 1 && tlsProvesDomain(leaf.id, bundles, verifiedBy, before)
      ? identityOf(leaf, pathIfAny(leaf, bundles, at), bundles, at)
      : verifyPeer(chain, bundles, at);
  } catch (error) {
    return asMeshError(error);
  }
}

/**
 * Whether the verdict of TLS is enough to know that the chain ends at a root of the leaf's own
 * trust domain, without having seen the authorities in between: among the roots that TLS knew were
 * none of another trust domain, or it was so before, and no root was taken away since.
 *
 * Needed because the server side of some releases of Node cannot see them: nodejs/node#65579,
 * in 24.21 and 26.8.
 */
function tlsProvesDomain(
  { trustDomain }: SpiffeId,
  bundles: TrustBundles,
  verifiedBy: TrustBundles,
  before: KnownPeer | undefined,
): boolean {
  const roots = bundles.get(trustDomain) ?? [];
  // TLS knows no revocation lists: who issued the certificate has to be seen.
  if (hasRevocations(bundles, trustDomain)) return false;
  if (before === undefined) {
    // Several names of one trust domain have the same roots.
    const known = allRoots(verifiedBy);
    return (
      known.length > 0 && known.every((root) => verifiedBy.get(trustDomain)?.includes(root) && roots.includes(root))
    );
  }
  return (before.bundles.get(trustDomain) ?? []).every((root) => roots.includes(root));
}

function pathIfAny(leaf: CheckedLeaf, bundles: TrustBundles, at: number): readonly ReadCertificate[] {
  try {
    return findPath(leaf.certificate, [], leaf.id, bundles, at);
  } catch {
    return [];
  }
}

/**
 * A `checkServerIdentity` for `tls.connect`: replaces the comparison of host names by the check of
 * the server's SPIFFE ID. With an empty list every identity of the trusted domains will do, as in
 * Istio when it knows no service accounts for a service.
 *
 * Node does not call it for resumed sessions, so never pass `session` to `tls.connect` beside it.
 *
 * @param allowed SPIFFE IDs that the server may have, compared whole
 *
 * @example
 * tls.connect({ host, port, secureContext, checkServerIdentity: checkServerSpiffe(['spiffe://…'], bundles, clock) });
 */
export function checkServerSpiffe(
  allowed: readonly string[],
  bundles: TrustBundles,
  clock: Clock,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    try {
      const { spiffeId } = verifyPeer(chainOf(certificate), bundles, clock.wallNow());
      if (allowed.length === 0 || allowed.includes(spiffeId)) return undefined;
      return peerProblem(`expected ${allowed.slice(0, 10).join(' or ')}, presented ${spiffeId}`);
    } catch (error) {
      return asMeshError(error);
    }
  };
}

// Node hands the chain over as linked plain objects; the root links to itself. `getPeerX509Certificate` is no
// alternative: it takes the chain out of the connection, so that it is there for whoever calls first.
function chainOf(certificate: PeerCertificate | null): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let at = certificate as Partial<DetailedPeerCertificate> | null | undefined;
  // One more than is allowed is enough to be refused.
  while (at?.raw !== undefined && chain.length <= maxChainLength) {
    chain.push(new X509Certificate(at.raw));
    const above: Partial<DetailedPeerCertificate> | undefined = at.issuerCertificate;
    at = above === at ? undefined : above;
  }
  return chain;
}

function asMeshError(error: unknown): MeshError {
  return error instanceof MeshError ? error : peerProblem('the certificate cannot be read', error);
}
