import { isInShare, millionths } from '../lib/percent.ts';
import type { Mirror } from '../model/route.ts';

/**
 * Which mirrors get a copy of the call that draws `random` (in [0, 1)) for each of them. For
 * `explain`, where one number stands for all: it is compared with the percentage of each mirror.
 * In traffic every mirror draws a number of its own.
 */
export function decideMirrors(mirrors: readonly Mirror[] | undefined, random: number): readonly Mirror[] {
  return (mirrors ?? []).filter(({ percent }) => isInShare(millionths(percent), random));
}

/**
 * The Host header of a copy, as Envoy writes it: `-shadow` behind the name or address, ahead of the
 * port. `reviews:9080` becomes `reviews-shadow:9080`.
 */
export function shadowHost(host: string): string {
  // The colons of an IPv6 address stand within brackets.
  const port = host.indexOf(':', host.lastIndexOf(']') + 1);
  return port === -1 ? `${host}-shadow` : `${host.slice(0, port)}-shadow${host.slice(port)}`;
}
