import type { Logger } from '../lib/logger.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import type { MeshTrust } from '../model/trust.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials, IdentitySink } from './source.ts';
import type { IdentityStore } from './store.ts';

/** A sink that adds what the mesh says of trust to what the source of identities says. */
export interface TrustingSink extends IdentitySink {
  /** What the mesh says from now on. */
  use(trust: MeshTrust | undefined): void;
}

/** Stands before the sink of a store. Trust may change without the source, and the source without trust. */
export function createTrustingSink(store: Pick<IdentityStore, 'sink' | 'health'>, logger: Logger): TrustingSink {
  const { sink } = store;
  /** The last credentials of the source that the store has taken; before the first, those that it refused. */
  let last: Credentials | undefined;
  let taken = false;
  let trust: MeshTrust | undefined;
  const offer = (credentials: Credentials): void => {
    if (!taken) last = credentials;
    const { rejected } = store.health();
    try {
      sink.update(withMeshTrust(credentials, trust));
    } catch (error) {
      // A source is told nothing of it: it has done nothing wrong.
      sink.reject(error as Error);
      return;
    }
    if (store.health().rejected !== rejected) return;
    taken = true;
    last = credentials;
    const own = trustDomainOf(credentials);
    if (trust === undefined || own === undefined || familyOf(own, trust).length > 1 || trust.aliases.length === 0)
      return;
    const fields = { trustDomain: own, ofTheMesh: trust.trustDomain, aliases: trust.aliases };
    logger.warn(fields, 'the own trust domain is none of those of the mesh: trustDomainAliases mean nothing for it');
  };
  return {
    update: offer,
    reject: (problem) => sink.reject(problem),
    lost: (reason) => sink.lost(reason),
    warn: (warning) => sink.warn?.(warning),
    use: (next) => {
      if (next === trust) return;
      trust = next;
      if (last !== undefined) offer(last);
    },
  };
}

/**
 * Credentials with the roots that they have together with what the mesh says.
 *
 * A root speaks for its own trust domain only (SPIFFE Trust Domain and Bundle, section 4). An alias
 * is another name of the own trust domain, so its roots are the own ones, with the own revocation
 * lists; but a name that has roots of its own, from the source or from `caCertificates` with
 * `trustDomains`, is a trust domain of its own.
 */
export function withMeshTrust(credentials: Credentials, trust: MeshTrust | undefined): Credentials {
  const own = trustDomainOf(credentials);
  // Without an identity the store will refuse it, and say why.
  if (trust === undefined || own === undefined) return credentials;
  const bundles = new Map(credentials.trustBundles);
  const crls = new Map(credentials.crlsByTrustDomain ?? []);
  const family = familyOf(own, trust);
  const add = (domain: string, pem: string): void => {
    const roots = readPemCertificates(pem, `caCertificates for ${domain}`).map((root) => root.toString());
    bundles.set(domain, [...new Set([...(bundles.get(domain) ?? []), ...roots])]);
  };
  for (const { pem, trustDomains } of trust.anchors) for (const domain of trustDomains) add(domain, pem);
  for (const alias of family) {
    if (bundles.has(alias)) continue;
    bundles.set(alias, bundles.get(own) ?? []);
    const lists = crls.get(own);
    if (lists !== undefined) crls.set(alias, lists);
  }
  for (const { pem, trustDomains } of trust.anchors) {
    if (trustDomains.length === 0) for (const domain of family) add(domain, pem);
  }
  return { ...credentials, trustBundles: bundles, ...(crls.size === 0 ? {} : { crlsByTrustDomain: crls }) };
}

/** The names of the own trust domain, when it is that of the mesh: its name there, and its aliases. */
function familyOf(own: string, { aliases, trustDomain = own }: MeshTrust): readonly string[] {
  const names = [trustDomain, ...aliases];
  return names.includes(own) ? [...new Set([own, ...names])] : [own];
}

function trustDomainOf({ spiffeId }: Credentials): string | undefined {
  try {
    return parseSpiffeId(spiffeId).trustDomain;
  } catch {
    return undefined;
  }
}
