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
 * disagree about it.
 *
 * @returns why the target is refused, when it is none of these
 */
export function parseTarget(target: string, method: string): RequestTarget | string {
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
