import type { PriorityPolicy } from '../model/overload.ts';
import { compileStringMatch } from '../model/string-match.ts';
import type { ServerCall } from '../pipeline/server-call.ts';

/** Of requests that say nothing (RFC 9218). */
export const defaultUrgency = 3;

/** The urgency that a header value names: `u=1, i` (RFC 9218) or just a digit; nothing else counts. */
export function urgencyOf(value: string | undefined): number {
  if (value === undefined) return defaultUrgency;
  if (value.length === 1) return digit(value, 0) ?? defaultUrgency;
  for (const part of value.split(',')) {
    const member = part.trim();
    if (member.startsWith('u=') && (member.length === 3 || member.charAt(3) === ';')) {
      return digit(member, 2) ?? defaultUrgency;
    }
  }
  return defaultUrgency;
}

function digit(text: string, at: number): number | undefined {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 7 ? value : undefined;
}

/**
 * How urgent a request is. Whoever is not trusted may say that its request is less urgent than others,
 * and not that it is more.
 */
export function createUrgency({ header, principals }: PriorityPolicy): (call: ServerCall) => number {
  const matches = principals?.map((each) => compileStringMatch(each));
  const trusted = (call: ServerCall): boolean => {
    if (call.peer === undefined) return false;
    const name = call.peer.spiffeId.slice('spiffe://'.length);
    return matches === undefined || matches.some((match) => match(name));
  };
  return (call) => {
    const value = call.request.headers[header];
    if (value === undefined) return defaultUrgency;
    const urgency = urgencyOf(typeof value === 'string' ? value : value[0]);
    return urgency >= defaultUrgency || trusted(call) ? urgency : defaultUrgency;
  };
}
