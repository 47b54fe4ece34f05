import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { OutgoingHttpHeaders } from 'node:http2';
import { type Dispatcher, errors } from 'undici';
import type { HeaderList } from '../lib/header-list.ts';

/** Headers of one connection of HTTP/1, which HTTP/2 must not have (RFC 9113 section 8.2.2). */
const ofConnections: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/**
 * The header block of a request. `:authority` is the Host header if there is one. What could not
 * stand in a header of HTTP/1 does not stand here either: somebody behind the server may speak it.
 *
 * @throws undici's `InvalidArgumentError` for a header that is not valid.
 */
export function requestHead(
  { headers, method, path }: Dispatcher.DispatchOptions,
  authority: string,
  secure: boolean,
): OutgoingHttpHeaders {
  const head = Object.create(null) as OutgoingHttpHeaders;
  head[':method'] = method;
  head[':authority'] = authority;
  head[':scheme'] = secure ? 'https' : 'http';
  head[':path'] = path;
  const list = headers as HeaderList;
  for (let i = 0; i < list.length; i += 2) add(head, list[i] as string, list[i + 1] as string | string[]);
  return head;
}

function add(head: OutgoingHttpHeaders, given: string, value: string | string[]): void {
  const name = given.toLowerCase();
  if (ofConnections.has(name)) return;
  if (Array.isArray(value)) {
    for (const one of value) add(head, name, one);
    return;
  }
  const text = typeof value === 'string' ? value : String(value);
  try {
    validateHeaderName(name);
    validateHeaderValue(name, text);
  } catch {
    throw new errors.InvalidArgumentError(`invalid ${given} header`);
  }
  if (name === 'host') {
    head[':authority'] = text;
    return;
  }
  // The one value that HTTP/2 leaves of it.
  if (name === 'te' && text.toLowerCase() !== 'trailers') return;
  const before = head[name];
  if (before === undefined) head[name] = text;
  else if (Array.isArray(before)) before.push(text);
  else head[name] = [String(before), text];
}
