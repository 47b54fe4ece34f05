import type { KeyObject } from 'node:crypto';
import type { VerificationKey } from '../lib/jwks.ts';

/**
 * What one verification with a key costs, in signatures of RSA with 2,048 bits: by its type, as OpenSSL does it on the machines of
 * today. Only the order of magnitude counts.
 */
export type CostOf = (key: VerificationKey) => number;

/** No key counts for more: to read the longest token and to try five keys never takes more attempts than a caller has. */
export const maxCost = 66;

const costs = new WeakMap<VerificationKey, number>();

/** The cost of a key, found out once. */
export const costOf: CostOf = (key) => {
  let cost = costs.get(key);
  if (cost === undefined) costs.set(key, (cost = Math.min(maxCost, Math.max(1, Math.round(costOfKey(key.key))))));
  return cost;
};

const costOfCurve: Readonly<Record<string, number>> = { prime256v1: 4, secp384r1: 36, secp521r1: maxCost };

function costOfKey({ asymmetricKeyDetails, asymmetricKeyType }: KeyObject): number {
  const { modulusLength = 0, namedCurve = '', publicExponent = 0n } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'ec') return costOfCurve[namedCurve] ?? maxCost;
  if (asymmetricKeyType !== 'rsa') return 4;
  // A multiplication for each bit of the exponent, and one more for each that is set, of numbers as long as the modulus.
  const bits = publicExponent.toString(2);
  const steps = bits.length + bits.replaceAll('0', '').length;
  return ((modulusLength / 2_048) ** 2 * steps) / 19;
}
