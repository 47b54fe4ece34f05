import { isIP } from 'node:net';

const durationPattern = /^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)/;
const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
/** Longest duration that Go knows: about 292 years. */
const maxDurationMs = 9_223_372_036_854;

/**
 * Reads a duration in Go's notation, as Istio does (`1h30m`, `1.5s`, `250ms`). Like Istio, it wants
 * whole milliseconds. Nothing when it is not a duration; a sign makes it negative.
 */
export function parseDurationMs(text: string): number | undefined {
  const total = parseFractionalMs(text);
  if (total === undefined) return undefined;
  // Decimal fractions of seconds are not exact in binary: 1.001 s is 1000.9999999999999 ms.
  const whole = Math.round(total);
  return Math.abs(total - whole) > 5e-7 ? undefined : whole;
}

/** As {@link parseDurationMs}, for the few fields in which Istio accepts fractions of a millisecond. */
export function parseFractionalMs(text: string): number | undefined {
  let rest = text;
  let sign = 1;
  if (rest.startsWith('-') || rest.startsWith('+')) {
    sign = rest.startsWith('-') ? -1 : 1;
    rest = rest.slice(1);
  }
  if (rest === '0') return 0;
  if (rest === '') return undefined;
  let total = 0;
  while (rest !== '') {
    const match = durationPattern.exec(rest);
    if (match === null) return undefined;
    total += Number(match[1]) * (unitMs[match[3] as string] as number);
    rest = rest.slice(match[0].length);
  }
  return total > maxDurationMs ? undefined : sign * total;
}

/** A duration that the field tables have already checked; fractions of a millisecond are cut off. */
export function durationMs(text: string): number;
export function durationMs(text: string | undefined): number | undefined;
export function durationMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return parseDurationMs(text) ?? Math.trunc(parseFractionalMs(text) ?? 0);
}

const labelPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
// Unlike a Kubernetes name, a host name may hold an underscore (Istio allows it in service entries).
const hostPartPattern = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** A DNS label (RFC 1123), the form of namespaces, service accounts' parts and port names. */
export function isDnsLabel(text: string): boolean {
  return labelPattern.test(text);
}

/** A host name of dot-separated labels, at most 255 characters; one word is enough. */
export function isHostName(text: string): boolean {
  return text.length <= 255 && text.split('.').every((part) => hostPartPattern.test(part));
}

/** `*.example.com`, or a host name. Not the lone `*`. */
export function isWildcardHostName(text: string): boolean {
  return isHostName(text.startsWith('*.') ? text.slice(2) : text);
}

/** An IPv4 or IPv6 address, without port or brackets. */
export function isIpAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%');
}

/** An IPv6 address of one network of this machine (`fe80::1%eth0`), as Go reads it. */
export function isZonedAddress(text: string): boolean {
  const at = text.indexOf('%');
  return at !== -1 && at < text.length - 1 && isIP(text.slice(0, at)) === 6;
}

/** One spelling for each address: IPv6 has many, and a URL uses the shortest. */
export function canonicalAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  return URL.parse(`http://[${address}]`)?.hostname.slice(1, -1) ?? address.toLowerCase();
}

/** An address with a prefix length: `10.0.0.0/8`. */
export function isCidr(text: string): boolean {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (match === null || text.includes('%')) return false;
  const family = isIP(match[1] as string);
  return family !== 0 && Number(match[2]) <= (family === 4 ? 32 : 128);
}

/** Labels of a selector are all among these labels. */
export function selects(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
}
