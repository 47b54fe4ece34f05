import type { Fault, StickySplit } from '../model/route.ts';
import type { Collector } from './collector.ts';
import type { HttpRule } from './delegates.ts';

/** Begins the name of a pseudo header that stands for a member of the caller's `baggage`. */
const baggagePrefix = '@baggage.';

/** `@baggage.reviews-canary` in `headers` of a match: the member of the W3C `baggage` header; else nothing. */
export function baggageMember(header: string): string | undefined {
  return header.startsWith(baggagePrefix) && header.length > baggagePrefix.length
    ? header.slice(baggagePrefix.length)
    : undefined;
}

/** What the annotations of its resource say of a rule. */
export interface RuleExtensions {
  readonly faultLevel: Fault['level'];
  readonly sticky?: StickySplit;
}

export interface Extensions {
  of(rule: HttpRule): RuleExtensions;
}

const none: RuleExtensions = { faultLevel: 'call' };

export function createExtensions(_collector: Collector): Extensions {
  return { of: () => none };
}
