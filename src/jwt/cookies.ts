/** A cookie of a request. */
export interface CookiePair {
  readonly name: string;
  /** Without the quotes that it may stand in, as Envoy reads it. */
  readonly value: string;
  /** The whole of it, as written. */
  readonly raw: string;
}

/** The cookies of one `cookie` header (RFC 6265 section 4.2.1). */
export function cookiePairs(header: string): readonly CookiePair[] {
  return header.split(';').map((part) => {
    const raw = part.trim();
    const equals = raw.indexOf('=');
    const value = equals === -1 ? '' : raw.slice(equals + 1).trim();
    const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"');
    return {
      name: (equals === -1 ? raw : raw.slice(0, equals)).trim(),
      value: quoted ? value.slice(1, -1) : value,
      raw,
    };
  });
}

/** A `cookie` header without the cookies of one name; nothing when none is left. */
export function withoutCookie(header: string, name: string): string | undefined {
  const kept = cookiePairs(header).filter((pair) => pair.name !== name && pair.raw !== '');
  return kept.length === 0 ? undefined : kept.map(({ raw }) => raw).join('; ');
}
