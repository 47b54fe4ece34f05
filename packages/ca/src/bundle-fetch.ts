import { type Clock, checkServerSpiffe, type TrustBundles } from 'inmesh/identity';
import { endpointDomain, type FederationRelation } from './federation-relation.ts';
import { fetchText, httpsUrl } from './fetch-text.ts';

/** What a fetch needs beside the relation. */
export interface BundleFetch {
  readonly relation: FederationRelation;
  /** Bundles by trust domain, as known now: those that endpoints with SPIFFE IDs are held against. */
  readonly known: TrustBundles;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Longest bundle document, bytes: what the parser of the core takes. */
const maxBytes = 2_097_152;

/**
 * Fetches a bundle document from its endpoint (SPIFFE Federation, 5.2.1.4 and 5.2.2.4). Redirects
 * are followed, three at most, to endpoints that prove the same.
 *
 * @throws Error
 */
export async function fetchBundle({ clock, known, relation, signal }: BundleFetch): Promise<string> {
  const common = { url: httpsUrl(relation.url), maxBytes, timeoutMs: 30_000, redirects: 3, clock, signal };
  const domain = endpointDomain(relation);
  if (domain === undefined) {
    return await fetchText({ ...common, ...(relation.caPem === undefined ? {} : { ca: [relation.caPem] }) });
  }
  const roots = known.get(domain) ?? [];
  // Without roots TLS would take those that Node trusts.
  if (roots.length === 0) throw new Error(`there is no bundle of ${domain}, to which its endpoint belongs`);
  return await fetchText({
    ...common,
    ca: roots,
    checkServerIdentity: checkServerSpiffe([relation.endpointSpiffeId ?? ''], new Map([[domain, roots]]), clock),
  });
}
