import { X509Certificate } from 'node:crypto';
import type { TrustAnchor } from '../model/trust.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

/** Istio `MeshConfig.CertificateData`. */
export interface CertificateDataSpec {
  readonly pem?: string;
  readonly spiffeBundleUrl?: string;
  readonly certSigners?: readonly string[];
  readonly trustDomains?: readonly string[];
}

/**
 * Roots of `caCertificates`. One that is for certain Kubernetes signers is not used: who signed a
 * peer's certificate in that sense cannot be seen, and to trust it for everybody would be more than
 * what is written.
 */
export function compileTrustAnchors(
  resource: Resource,
  specs: readonly CertificateDataSpec[] = [],
  path: Path,
  collector: Collector,
): readonly TrustAnchor[] {
  return specs.flatMap(({ pem, certSigners = [], trustDomains = [] }, index) => {
    if (pem === undefined) return [];
    const blocks = pem.match(block) ?? [];
    const problem = whyNoRoots(pem, blocks);
    if (problem !== undefined) {
      collector.refuse(resource, [...path, index, 'pem'], `must be certificates of authorities: ${problem}`);
      return [];
    }
    if (certSigners.length > 0) {
      const why = 'roots for certain signers are not used: it cannot be seen who those are';
      collector.warn(resource, [...path, index, 'pem'], 'ignored', why);
      return [];
    }
    // One below the other, however they were written.
    return [{ pem: blocks.map((text) => `${text}\n`).join(''), trustDomains }];
  });
}

const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** As many as are read of one text of certificates. */
const maxBlocks = 64;

function whyNoRoots(pem: string, blocks: readonly string[]): string | undefined {
  if (blocks.length === 0) return 'there is no certificate in it';
  if (blocks.length > maxBlocks) return `there are ${blocks.length} in it, ${maxBlocks} are allowed`;
  if (pem.replace(block, '').includes('-----')) return 'there is something else in it';
  for (const [index, text] of blocks.entries()) {
    try {
      if (!new X509Certificate(text).ca) return `certificate ${index + 1} is not that of an authority`;
    } catch {
      return `certificate ${index + 1} cannot be read`;
    }
  }
  return undefined;
}
