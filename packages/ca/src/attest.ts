import type { TLSSocket } from 'node:tls';
import { type Clock, peerOfSocket } from 'inmesh/identity';
import type { Attestation, Authority } from './authority-types.ts';
import { refusal } from './refusal.ts';

/** What a caller shows to prove who it is. */
export interface Evidence {
  /** A join token, or a token of a Kubernetes service account. */
  readonly token?: string;
  /** The connection, where the certificate of its client counts. */
  readonly socket?: TLSSocket;
  /** Name of the cluster that the caller says to be in: Istio's metadata `clusterid`. */
  readonly clusterId?: string;
}

/** One way to prove an identity. */
export interface Attestor {
  /** For messages: `certificate`, `join token`, `kubernetes east`. */
  readonly name: string;
  /**
   * Who the caller is; nothing when what it shows is not of this kind.
   *
   * @throws Refusal when it is of this kind and proves nothing
   */
  attest(evidence: Evidence): Promise<Attestation | undefined> | Attestation | undefined;
}

/**
 * Asks one attestor after the other; the first identity that is proven counts, as in istiod.
 *
 * @throws Refusal the reason of the last one that knew the kind of evidence
 */
export async function attest(attestors: readonly Attestor[], evidence: Evidence): Promise<Attestation> {
  let problem: unknown;
  for (const attestor of attestors) {
    try {
      const found = await attestor.attest(evidence);
      if (found !== undefined) return found;
    } catch (error) {
      problem = error;
    }
  }
  if (problem !== undefined) throw problem;
  if (evidence.token !== undefined) throw refusal('token_invalid', 'the token is of no kind that is accepted here');
  throw refusal('unauthenticated', 'a join token or a valid client certificate is needed');
}

/**
 * The certificate that the client presented, for renewals: one of this authority's own trust domain.
 * One of a federated domain proves nothing here.
 */
export function certificateAttestor(authority: Authority, clock: Clock): Attestor {
  return {
    name: 'certificate',
    attest: ({ socket }) => {
      if (socket === undefined) return undefined;
      const peer = peerOf(socket, authority, clock);
      if (peer === undefined) return undefined;
      // Other than a request to a neighbour, a renewal has no grace: it would make an expired identity live on.
      if (clock.wallNow() >= peer.notAfter) {
        throw refusal('unauthenticated', `the certificate of ${peer.spiffeId} has expired`);
      }
      return { spiffeId: peer.spiffeId, by: 'renewal', serial: socket.getPeerCertificate().serialNumber };
    },
  };
}

function peerOf(socket: TLSSocket, authority: Authority, clock: Clock): ReturnType<typeof peerOfSocket> {
  try {
    return peerOfSocket(socket, authority.ownBundles, clock);
  } catch (cause) {
    throw refusal('unauthenticated', (cause as Error).message, cause);
  }
}

/** Join tokens of this authority. */
export function joinTokenAttestor(authority: Authority): Attestor {
  return {
    name: 'join token',
    attest: ({ token }) => (token?.startsWith('inmesh1.') === true ? authority.checkToken(token) : undefined),
  };
}
