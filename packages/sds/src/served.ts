import { createHash } from 'node:crypto';
import type { Credentials } from 'inmesh/identity';
import type { Any } from './discovery.ts';
import { certificateSecret, federatedSecret, rootsSecret } from './secret.ts';

/** A secret in the form in which it is sent. */
export interface ServedSecret {
  readonly name: string;
  /** Changes with the content, and with nothing else: also the same after a restart. */
  readonly version: string;
  readonly resource: Any;
}

/** How secrets are called. */
export interface SecretNames {
  /** Certificate and key. Default `default`. */
  readonly certificate: string;
  /** Roots of the own trust domain, as `trusted_ca`. Default `ROOTCA`. */
  readonly roots: string;
  /** Roots of all trust domains, for Envoy's SPIFFE validator. Default `ALL`. */
  readonly allRoots: string;
}

/** The names that Istio and SPIRE use. */
export const usualNames: SecretNames = { certificate: 'default', roots: 'ROOTCA', allRoots: 'ALL' };

/**
 * All secrets that credentials give, by name: those of `names`, and as with SPIRE the certificate
 * by its SPIFFE ID and the roots of each trust domain by the ID of the trust domain.
 */
export function secretsOf(credentials: Credentials, names: SecretNames): ReadonlyMap<string, ServedSecret> {
  const { certificateChainPem, privateKeyPem, spiffeId, trustBundles } = credentials;
  const crls = credentials.crlsByTrustDomain ?? new Map<string, readonly string[]>();
  const listsOf = (trustDomain: string): readonly string[] => crls.get(trustDomain) ?? [];
  const served = new Map<string, ServedSecret>();
  // The key is left out of the version: it goes with the certificate, and versions are in logs.
  const add = (name: string, content: readonly string[], resource: Any): void => {
    const version = createHash('sha256').update(content.join('\n')).digest('hex').slice(0, 16);
    served.set(name, { name, version, resource });
  };
  const certificate = (name: string): void =>
    add(name, [certificateChainPem], certificateSecret(name, certificateChainPem, privateKeyPem));
  certificate(spiffeId);
  certificate(names.certificate);
  for (const [trustDomain, roots] of trustBundles) {
    const name = `spiffe://${trustDomain}`;
    add(name, [...roots, ...listsOf(trustDomain)], federatedSecret(name, new Map([[trustDomain, roots]]), crls));
  }
  const own = trustBundles.get(trustDomainOf(spiffeId)) ?? [];
  const lists = listsOf(trustDomainOf(spiffeId));
  add(names.roots, [...own, ...lists], rootsSecret(names.roots, own, lists));
  const all = [...trustBundles].sort(([a], [b]) => (a < b ? -1 : 1));
  const contents = all.flatMap(([domain, roots]) => [domain, ...roots, ...listsOf(domain)]);
  add(names.allRoots, contents, federatedSecret(names.allRoots, new Map(all), crls));
  return served;
}

/** Whether a name may come to be served, as far as can be said without credentials. */
export function mayServe(name: string, names: SecretNames): boolean {
  return Object.values(names).includes(name) || name.startsWith('spiffe://');
}

function trustDomainOf(spiffeId: string): string {
  return spiffeId.slice('spiffe://'.length).split('/')[0] ?? '';
}
