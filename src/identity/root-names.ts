import { rootsOf, type TrustBundles } from './trust.ts';

/** Names that are shown; a bundle may have any number. */
const maxNames = 20;

/**
 * Which roots there are, for messages: `cluster.local: CN=mesh root`. When a chain ends in none of
 * them, what this list lacks is the root that is missing.
 */
export function rootNames(bundles: TrustBundles): readonly string[] {
  return [...bundles.keys()]
    .flatMap((domain) => (rootsOf(bundles, domain) ?? []).map(({ x509 }) => `${domain}: ${printable(x509.subject)}`))
    .slice(0, maxNames);
}

function printable(subject: string): string {
  return subject.replaceAll(/[^\x20-\x7e]+/g, ', ').slice(0, 200);
}
