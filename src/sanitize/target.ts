/** A request target, taken apart. */
export interface RequestTarget {
  /** As it arrived, without query and fragment; `*` for the asterisk form. */
  readonly path: string;
  /** With its `?`, or ''. */
  readonly query: string;
  /** Host of an absolute-form target, or ''. */
  readonly authority: string;
}

/**
 * Takes a request target apart (RFC 9112 section 3.2): origin-form, absolute-form with `http:` or
 * `https:`, or `*` for OPTIONS. The fragment is cut: it is for the caller's own use, and routers
 * disagree about it. Visible ASCII only, as in Envoy's HTTP/1 codec: of anything else Express reads
 * the whole target anew, by the rules of `url.parse`, and trims what it takes for white space.
 *
 * @returns why the target is refused, when it is none of these
 */
export function parseTarget(target: string, method: string): RequestTarget | string {
  if (!isVisible(target)) return 'the request target contains a character that is not visible ASCII';
  const hash = target.indexOf('#');
  const whole = hash === -1 ? target : target.slice(0, hash);
  if (whole.charCodeAt(0) === 0x2f) return split(whole, '');
  if (whole === '*') {
    return method === 'OPTIONS' ? { path: '*', query: '', authority: '' } : 'only OPTIONS may ask for *';
  }
  const scheme = schemeLength(whole);
  if (scheme === 0) return 'the request target is neither a path nor an http: URL';
  let end = scheme;
  while (end < whole.length && !isEndOfAuthority(whole.charCodeAt(end))) end++;
  const authority = whole.slice(scheme, end);
  if (authority === '') return 'the request target names no host';
  const rest = whole.slice(end);
  return split(rest.charCodeAt(0) === 0x2f ? rest : `/${rest}`, authority);
}

/**
 * True for a path without query that no mode of normalisation would change: the usual target,
 * decided in one look at each character.
 */
export function isCanonicalTarget(target: string): boolean {
  if (target.charCodeAt(0) !== 0x2f) return false;
  let before = 0;
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    // not visible ASCII; `%`, `?`, `\`, `#`
    if (code <= 0x20 || code >= 0x7f || code === 0x25 || code === 0x3f || code === 0x5c || code === 0x23) return false;
    // doubled slash, and what may be a dot segment
    if (before === 0x2f && (code === 0x2f || code === 0x2e)) return false;
    before = code;
  }
  return true;
}

function split(whole: string, authority: string): RequestTarget {
  const mark = whole.indexOf('?');
  return mark === -1
    ? { path: whole, query: '', authority }
    : { path: whole.slice(0, mark), query: whole.slice(mark), authority };
}

function schemeLength(target: string): number {
  const start = target.slice(0, 8).toLowerCase();
  if (start.startsWith('http://')) return 7;
  return start === 'https://' ? 8 : 0;
}

// `/`, `?` and, as browsers read it, `\`.
function isEndOfAuthority(code: number): boolean {
  return code === 0x2f || code === 0x3f || code === 0x5c;
}

function isVisible(target: string): boolean {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f) return false;
  }
  return true;
}
