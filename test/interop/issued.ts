import type { Authority } from '@inmesh/ca';
import { type Credentials, createCsr, credentialsOf, generateIdentityKey } from 'inmesh/identity';

/** Credentials of a workload as the embedded authority issues them, trusting its roots or those given. */
export function issued(
  authority: Authority,
  spiffeId: string,
  roots: readonly string[] = authority.trustBundles.get(authority.trustDomain) ?? [],
): Credentials {
  const key = generateIdentityKey();
  const { certificateChainPem } = authority.signCsr(createCsr(spiffeId, key), spiffeId);
  return credentialsOf({
    certificateChainPem,
    privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    trustBundles: new Map([[authority.trustDomain, roots]]),
  });
}
