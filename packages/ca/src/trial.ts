import type { X509Certificate } from 'node:crypto';
import { verifyPeer } from 'inmesh/identity';
import { issuerPartsOf } from './certificate-parts.ts';
import { backdateMs, issue, type Signer } from './material.ts';

/** What is tried. */
export interface Trial {
  readonly signer: Signer;
  /** What is presented after the leaf, nearest first, without the root. */
  readonly chain: readonly X509Certificate[];
  readonly root: X509Certificate;
  readonly trustDomain: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Signs a workload certificate on trial and verifies it as a peer would that knows only the root.
 *
 * @throws Error whose message says why nobody would accept it
 */
export function signOnTrial({ chain, now, root, signer, trustDomain }: Trial): void {
  const { certificate, key } = signer;
  try {
    const leaf = issue(
      {
        issuer: issuerPartsOf(certificate),
        subject: Buffer.alloc(0),
        notBefore: now - backdateMs,
        notAfter: now + 60_000,
        // Nobody gets to see it: the key of the authority itself will do.
        publicKey: certificate.publicKey,
        names: [{ uri: `spiffe://${trustDomain}/trial` }],
        extendedKeyUsage: ['serverAuth', 'clientAuth'],
      },
      key,
      certificate.publicKey,
    );
    verifyPeer([leaf, ...chain], new Map([[trustDomain, [root.toString()]]]), now);
  } catch (cause) {
    const reasons = [cause, (cause as Error).cause].flatMap((each) => (each instanceof Error ? [each.message] : []));
    throw new Error(`nobody would accept what it signs: ${reasons.join(': ')}`, { cause });
  }
}
