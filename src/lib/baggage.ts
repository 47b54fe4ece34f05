/** Longest `baggage` that is passed on, in characters (W3C Baggage: 8,192 bytes). */
export const maxBaggageLength = 8_192;

/**
 * Value of a member of a `baggage` header, percent-decoded, without its properties; the first of
 * several (W3C Baggage section 3.3.1). Nothing when the header has no such member.
 */
export function baggageMember(header: string, name: string): string | undefined {
  let start = 0;
  let sign = -1;
  while (start <= header.length) {
    const comma = header.indexOf(',', start);
    const end = comma === -1 ? header.length : comma;
    // One that is behind this member is that of a later one: it is looked for once.
    if (sign < start) sign = header.indexOf('=', start);
    if (sign === -1) return undefined;
    if (sign < end && header.slice(start, sign).trim() === name) {
      const semicolon = header.indexOf(';', sign);
      return decode(header.slice(sign + 1, semicolon === -1 || semicolon > end ? end : semicolon).trim());
    }
    start = end + 1;
  }
  return undefined;
}

/**
 * A `baggage` header with one member set, which replaces those of its name. A header that would
 * become too long stays as it is: the members of others are not ours to drop.
 */
export function withBaggageMember(header: string | undefined, name: string, value: string): string {
  const member = `${name}=${encodeURIComponent(value)}`;
  if (header === undefined || header.trim() === '') return member;
  const others = header.split(',').filter((each) => {
    const sign = each.indexOf('=');
    return each.trim() !== '' && (sign === -1 ? each : each.slice(0, sign)).trim() !== name;
  });
  const joined = [...others, member].join(',');
  return joined.length > maxBaggageLength ? header : joined;
}

function decode(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    // Not percent-encoding after all; what is there is the value.
    return value;
  }
}
