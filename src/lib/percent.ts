/**
 * A percentage as millionths, rounded down: that is how Istio hands percentages to Envoy, so 0.00009 % is
 * nothing and 33.3333 % is 333,333 of a million.
 */
export function millionths(percent: number): number {
  return Math.min(1_000_000, Math.max(0, Math.trunc(percent * 10_000)));
}

/** Does this share (in {@link millionths}) include this number out of [0, 1)? The lowest numbers are in. */
export function isInShare(share: number, random: number): boolean {
  return Math.floor(random * 1_000_000) < share;
}
