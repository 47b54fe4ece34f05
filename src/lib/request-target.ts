const questionMark = 0x3f;
const hash = 0x23;

/** The path of a request target, without query and fragment. */
export function pathOnly(target: string): string {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === questionMark || code === hash) return target.slice(0, i);
  }
  return target;
}

/**
 * Value of a query parameter, of several the first; '' for one without `=`; nothing when there is
 * none. As in Envoy nothing is percent-decoded, neither name nor value.
 */
export function queryValue(target: string, name: string): string | undefined {
  const fragment = target.indexOf('#');
  const end = fragment === -1 ? target.length : fragment;
  let start = target.indexOf('?') + 1;
  if (start === 0 || start > end) return undefined;
  while (start < end) {
    let stop = target.indexOf('&', start);
    if (stop === -1 || stop > end) stop = end;
    if (target.startsWith(name, start)) {
      const after = start + name.length;
      if (after === stop) return '';
      if (after < stop && target.charCodeAt(after) === 0x3d) return target.slice(after + 1, stop);
    }
    start = stop + 1;
  }
  return undefined;
}
