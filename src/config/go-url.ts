/**
 * Reads URLs as Go's `net/url` does, as far as Istio's validation looks at them: does it parse, and
 * what is its scheme. JavaScript's `URL` repairs what Go refuses.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const controls = /[\u0000-\u001F\u007F]/;
const badEscape = /%(?![0-9A-Fa-f]{2})/;
const userInfo = /^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/;
const hostName = /^[^\s"<>\\^`{|}#/?@[\]]*$/;
const bracketed = /^\[[^[\]]*\](?::[0-9]*)?$/;

/** The scheme in lower case, '' without one; nothing when Go's `url.Parse` would fail. */
export function schemeOf(text: string): string | undefined {
  const fragment = text.indexOf('#');
  if (fragment !== -1 && badEscape.test(text.slice(fragment))) return undefined;
  return parse(fragment === -1 ? text : text.slice(0, fragment), false);
}

/** As {@link schemeOf}, by the rules of `url.ParseRequestURI`: absolute, and `#` means nothing. */
export function schemeOfRequest(text: string): string | undefined {
  return parse(text, true);
}

function parse(text: string, viaRequest: boolean): string | undefined {
  if (controls.test(text) || (text === '' && viaRequest)) return undefined;
  if (text === '*') return '';
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text);
  if (match === null && text.startsWith(':')) return undefined;
  const scheme = match?.[1]?.toLowerCase() ?? '';
  const whole = text.slice(match === null ? 0 : match[0].length);
  const query = whole.indexOf('?');
  const rest = query === -1 ? whole : whole.slice(0, query);
  if (!rest.startsWith('/')) {
    if (scheme !== '') return scheme;
    if (viaRequest) return undefined;
    // A first segment with a colon would look like a scheme.
    if (/^[^/]*:/.test(rest)) return undefined;
  }
  if (rest.startsWith('//') && (scheme !== '' || (!viaRequest && !rest.startsWith('///')))) {
    const slash = rest.indexOf('/', 2);
    const authority = rest.slice(2, slash === -1 ? undefined : slash);
    if (!isAuthority(authority)) return undefined;
    return badEscape.test(slash === -1 ? '' : rest.slice(slash)) ? undefined : scheme;
  }
  return badEscape.test(rest) ? undefined : scheme;
}

function isAuthority(text: string): boolean {
  const at = text.lastIndexOf('@');
  const user = text.slice(0, Math.max(at, 0));
  if (at !== -1 && (!userInfo.test(user) || badEscape.test(user))) return false;
  const host = text.slice(at + 1);
  if (host.startsWith('[')) return bracketed.test(host);
  const colon = host.lastIndexOf(':');
  if (colon !== -1 && !/^[0-9]*$/.test(host.slice(colon + 1))) return false;
  // In a host only bytes beyond ASCII may be escaped.
  return hostName.test(host) && !/%(?![89A-Fa-f][0-9A-Fa-f])/.test(host);
}
