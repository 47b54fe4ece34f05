import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { checkLeaf, peerProblem } from './svid.ts';
import { checkDates, findPath, maxChainLength, type TrustBundles, validityOf, withFacts } from './trust.ts';

/** Who a peer is, as its certificate proves. Has all fields of a `Peer` of the pipeline. */
export interface PeerIdentity {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** From Istio's `/ns/<namespace>/sa/<service account>`; absent for other SPIFFE IDs. */
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** While the leaf and every authority above it are valid, milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Verifies a peer's certificates, leaf first: the SPIFFE X509-SVID rules for leaves, dates, and a
 * chain to a root of the bundle of the leaf's own trust domain.
 *
 * @param now milliseconds since the epoch
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` naming what was expected and what was presented.
 */
export function verifyPeer(chain: readonly X509Certificate[], bundles: TrustBundles, now: number): PeerIdentity {
  const [first, ...presented] = chain;
  if (first === undefined) throw peerProblem('no certificate was presented');
  const leaf = withFacts(first);
  const id = checkLeaf(leaf.facts);
  checkDates(first, now, `the certificate of ${id.uri}`);
  const path = findPath(leaf, presented, id, bundles, now);
  const spans = [first, ...path.map(({ x509 }) => x509)].map(validityOf);
  const { uri: spiffeId, trustDomain, namespace, serviceAccount } = id;
  return {
    spiffeId,
    trustDomain,
    ...(namespace === undefined ? {} : { namespace }),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
    notBefore: Math.max(...spans.map((span) => span.notBefore)),
    notAfter: Math.min(...spans.map((span) => span.notAfter)),
  };
}

interface CachedPeer {
  readonly bundles: TrustBundles;
  readonly peer: PeerIdentity | MeshError;
}
const peers = new WeakMap<TLSSocket, CachedPeer>();

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
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` when what was presented does not prove an identity.
 */
export function peerOfSocket(socket: TLSSocket, bundles: TrustBundles, clock: Clock): PeerIdentity | undefined {
  const now = clock.wallNow();
  let cached = peers.get(socket);
  if (cached === undefined || cached.bundles !== bundles) {
    const chain = chainOfSocket(socket);
    if (chain.length === 0) return undefined;
    // A connection that stays open over its expiry is judged as of its last valid moment when
    // the bundle changes; the grace below then decides whether it is too late.
    const judged = cached !== undefined && !(cached.peer instanceof MeshError) ? cached.peer.notAfter : now;
    peers.set(socket, (cached = { bundles, peer: judge(socket, chain, bundles, Math.min(now, judged)) }));
  }
  const { peer } = cached;
  if (peer instanceof MeshError) throw peer;
  if (now > peer.notAfter + expiryGraceMs) {
    throw peerProblem(`the certificate of ${peer.spiffeId} expired at ${new Date(peer.notAfter).toISOString()}`);
  }
  return peer;
}

function judge(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  bundles: TrustBundles,
  now: number,
): PeerIdentity | MeshError {
  if (!socket.authorized) {
    const reason: unknown = socket.authorizationError;
    return peerProblem(`TLS did not verify the certificate: ${String(reason ?? 'unknown reason').slice(0, 200)}`);
  }
  try {
    return verifyPeer(chain, bundles, now);
  } catch (error) {
    return asMeshError(error);
  }
}

function chainOfSocket(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let at = socket.getPeerX509Certificate();
  // One more than allowed is enough to be refused.
  for (; at !== undefined && chain.length <= maxChainLength; at = at.issuerCertificate) chain.push(at);
  return chain;
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
      const { spiffeId } = verifyPeer(chainOfLegacy(certificate), bundles, clock.wallNow());
      if (allowed.length === 0 || allowed.includes(spiffeId)) return undefined;
      return peerProblem(`expected ${allowed.slice(0, 10).join(' or ')}, presented ${spiffeId}`);
    } catch (error) {
      return asMeshError(error);
    }
  };
}

// Node hands the chain over as linked plain objects; the root links to itself.
function chainOfLegacy(certificate: PeerCertificate): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let at = certificate as Partial<DetailedPeerCertificate> | undefined;
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
