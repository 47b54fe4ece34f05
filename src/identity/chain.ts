import { parseSpiffeId } from '../model/spiffe-id.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials } from './source.ts';

/**
 * Credentials without the roots that stand at the end of their chain, as Istio sends them. Peers
 * have roots of their own: those along the way are bytes in every handshake, and count towards the
 * length of the chain. Only what signed itself and is in the own trust bundle is left out.
 */
export function withoutRoots(credentials: Credentials): Credentials {
  const roots = credentials.trustBundles.get(parseSpiffeId(credentials.spiffeId).trustDomain) ?? [];
  const chain = readPemCertificates(credentials.certificateChainPem, 'certificate chain');
  const sent = chain.filter((one, i) => i === 0 || !(one.checkIssued(one) && roots.includes(one.toString())));
  if (sent.length === chain.length) return credentials;
  return { ...credentials, certificateChainPem: sent.map((one) => one.toString()).join('') };
}
