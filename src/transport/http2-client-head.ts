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

/** Names that were checked before, in lower case; '' for those that are left out. */
const names = new Map<string, string>();
/** Applications have few names; one that makes them up must not fill the memory. */
const mostNames = 1_000;

function nameOf(given: string): string {
  const known = names.get(given);
  if (known !== undefined) return known;
  const lower = given.toLowerCase();
  validateHeaderName(lower);
  const name = ofConnections.has(lower) ? '' : lower;
  if (names.size < mostNames) names.set(given, name);
  return name;
}

function add(head: OutgoingHttpHeaders, given: string, value: string | string[]): void {
  if (Array.isArray(value)) {
    for (const one of value) add(head, given, one);
    return;
  }
  const text = typeof value === 'string' ? value : String(value);
  let name: string;
  try {
    name = nameOf(given);
    validateHeaderValue(given, text);
  } catch {
    throw new errors.InvalidArgumentError(`invalid ${given} header`);
  }
  if (name === '') return;
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
