/** Longest host accepted, port included (RFC 1035 allows names of 255 bytes). */
const maxHostLength = 255;

/**
 * Why this is no host: `name`, `name:port`, `1.2.3.4`, `[::1]:80`. No user, path, scope id,
 * percent-encoding, empty label or control character: each of these has meant different hosts to different
 * readers.
 *
 * @returns nothing when the host is good
 */
export function hostProblem(host: string): string | undefined {
  if (host === '') return 'the Host header is empty';
  if (host.length > maxHostLength) return 'the Host header is too long';
  const literal = host.charCodeAt(0) === 0x5b;
  const end = literal ? host.indexOf(']') + 1 : endOfName(host);
  if (end <= 0 || (literal && !isIpv6(host, end - 1))) return 'the Host header is not a host';
  return end === host.length || isPort(host, end) ? undefined : 'the Host header is not a host';
}

/** Same host and port, letter case and a final dot of the name aside. */
export function isSameHost(a: string, b: string): boolean {
  return a === b || plain(a) === plain(b);
}

function plain(host: string): string {
  const lower = host.toLowerCase();
  const colon = lower.lastIndexOf(':');
  const name = colon > lower.lastIndexOf(']') ? lower.slice(0, colon) : lower;
  return name.endsWith('.') ? name.slice(0, -1) + lower.slice(name.length) : lower;
}

/** Index after the last character of a name or IPv4 address. No label is empty but the one behind a final dot. */
function endOfName(host: string): number {
  let i = 0;
  let before = dot;
  while (i < host.length) {
    const code = host.charCodeAt(i);
    if (!isNameCharacter(code) || (code === dot && before === dot)) break;
    before = code;
    i++;
  }
  return i;
}

const dot = 0x2e;

// Letters, digits, `-`, `.`, `_` (Istio's SNI and Docker names have it), `~`.
function isNameCharacter(code: number): boolean {
  const lower = code | 0x20;
  if (lower >= 0x61 && lower <= 0x7a) return true;
  return (code >= 0x30 && code <= 0x39) || code === 0x2d || code === 0x2e || code === 0x5f || code === 0x7e;
}

function isIpv6(host: string, end: number): boolean {
  for (let i = 1; i < end; i++) {
    const code = host.charCodeAt(i);
    const lower = code | 0x20;
    const hexadecimal = (code >= 0x30 && code <= 0x39) || (lower >= 0x61 && lower <= 0x66);
    if (!hexadecimal && code !== 0x3a && code !== 0x2e) return false;
  }
  return end > 2;
}

function isPort(host: string, colon: number): boolean {
  if (host.charCodeAt(colon) !== 0x3a) return false;
  let port = 0;
  for (let i = colon + 1; i < host.length; i++) {
    const digit = host.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
    if (port > 65_535) return false;
  }
  // `080` is 80 to some and a name of its own to who compares texts.
  return host.length > colon + 1 && (host.length === colon + 2 || host.charCodeAt(colon + 1) !== 0x30);
}
