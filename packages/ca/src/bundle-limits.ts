import type { SpiffeBundle } from 'inmesh/identity';

/** Roots of one bundle, and of all together, in characters of PEM: members take what they get as a whole, or not at all. */
const maxBundleLength = 65_536;
const maxTotalLength = 524_288;

/**
 * What one partner publishes must not keep members from all that others do.
 *
 * @param others the bundles of other relations, as far as there are any
 * @throws Error
 */
export function checkLimits(next: SpiffeBundle, others: readonly (SpiffeBundle | undefined)[]): void {
  const length = lengthOf(next);
  if (length > maxBundleLength) {
    throw new Error(`it has ${next.x509Authorities.length} roots; the most is ${maxBundleLength} characters of PEM`);
  }
  const total = others.reduce((sum, bundle) => sum + lengthOf(bundle), length);
  if (total > maxTotalLength) throw new Error(`with it there would be more than ${maxTotalLength} characters of roots`);
}

/** SPIFFE Federation, 4.2: what is older does not replace what is newer. @throws Error */
export function checkOrder(before: SpiffeBundle | undefined, next: SpiffeBundle): void {
  if (before?.sequence === undefined || next.sequence === undefined || next.sequence >= before.sequence) return;
  throw new Error(`it has sequence ${next.sequence}, older than ${before.sequence} in force`);
}

function lengthOf(bundle: SpiffeBundle | undefined): number {
  let length = 0;
  for (const root of bundle?.x509Authorities ?? []) length += root.length;
  return length;
}
