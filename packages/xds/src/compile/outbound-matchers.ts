import type { StringMatch } from 'inmesh/model';
import type { FractionalPercent } from '../proto/envoy/ranges.ts';
import { ResourceError } from '../resources.ts';
import { checkedPattern } from './string-matchers.ts';

/** A text that becomes part of a path or a header. @throws ResourceError for one that would end it, as in Envoy */
export function lineOf<T extends string | undefined>(text: T, path: string): T {
  if (text !== undefined && /[\0\r\n]/.test(text)) {
    throw new ResourceError(path, 'must not have line breaks', { value: text });
  }
  return text;
}

const denominators: Readonly<Record<string, number>> = { HUNDRED: 1, TEN_THOUSAND: 100, MILLION: 10_000 };

/** 0 to 100; absent ones are `missing`. */
export function percentOf(value: FractionalPercent | undefined, path: string, missing = 0): number {
  if (value === undefined) return missing;
  const { denominator, numerator } = value;
  const by = denominators[denominator];
  if (by === undefined) {
    throw new ResourceError(`${path}.denominator`, 'expected HUNDRED, TEN_THOUSAND or MILLION', { value: denominator });
  }
  return Math.min(100, numerator / by);
}

/** Envoy's limits of a range: nothing beyond is safe in a double either. */
const maxDigits = 15;

/**
 * Whole numbers from `start` up to and without `end`, as a regular expression (Envoy `range_match`).
 * Nothing when no number is in it.
 */
export function rangeMatch(start: number, end: number, path: string): StringMatch | undefined {
  if (end <= start) return undefined;
  const last = end - 1;
  if (Math.abs(start) >= 10 ** maxDigits || Math.abs(last) >= 10 ** maxDigits) {
    throw new ResourceError(path, `expected numbers of at most ${maxDigits} digits`, { value: [start, end] });
  }
  const parts: string[] = [];
  if (start < 0) parts.push(...digits(last < 0 ? -last : 1, -start).map((text) => `-0*${text}`));
  if (last >= 0) parts.push(...digits(Math.max(0, start), last).map((text) => `\\+?0*${text}`));
  if (start <= 0 && last >= 0) parts.push('-0+');
  return checkedPattern(parts.join('|'), path, 'expected a range that a pattern can stand for');
}

/** Patterns that together stand for the numbers from `low` to `high`, both in it, both not negative. */
function digits(low: number, high: number): readonly string[] {
  const parts: string[] = [];
  for (let from = low; from <= high; ) {
    // The longest run of numbers that differ in their last digits only, in any of these.
    let free = 0;
    while (from % 10 ** (free + 1) === 0 && from + 10 ** (free + 1) - 1 <= high && hasDigits(from, free + 1)) free += 1;
    const unit = 10 ** free;
    const first = Math.floor(from / unit) % 10;
    const left = Math.floor((high - from + 1) / unit);
    const lastDigit = Math.min(9, first + left - 1);
    const head = Math.floor(from / (unit * 10));
    const span = first === lastDigit ? String(first) : `[${first}-${lastDigit}]`;
    parts.push(`${head === 0 ? '' : head}${span}${'[0-9]'.repeat(free)}`);
    from += (lastDigit - first + 1) * unit;
  }
  return parts;
}

/** More digits than that: leading zeros are no part of a pattern of fixed length. */
function hasDigits(value: number, count: number): boolean {
  return value >= 10 ** count;
}
