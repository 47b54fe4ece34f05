import { isUtf8 } from 'node:buffer';
import { hexValue } from './hex.ts';

const percent = 0x25;

/**
 * `decodeURIComponent`, but nothing for what cannot be decoded. An error costs some microseconds, and a request has
 * room for thousands of parameters that are no percent-encoding.
 */
export function decodedComponent(text: string): string | undefined {
  for (let start = text.indexOf('%'); start !== -1; ) {
    let end = start;
    let ascii = true;
    for (; text.charCodeAt(end) === percent; end += 3) {
      const high = hexValue(text.charCodeAt(end + 1));
      if (high === -1 || hexValue(text.charCodeAt(end + 2)) === -1) return undefined;
      if (high >= 8) ascii = false;
    }
    if (!ascii && !isUtf8(Buffer.from(text.slice(start, end).replaceAll('%', ''), 'hex'))) return undefined;
    start = text.indexOf('%', end);
  }
  return decodeURIComponent(text);
}
