import { type IncomingMessage, type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http';
import { framesRequest } from '../lib/header-edit.ts';
import { decodedQuery, rootOfName } from '../lib/query-name.ts';
import { beforeHead } from '../pipeline/before-head.ts';
import { removeRequestHeader, setRequestHeader } from '../pipeline/request-headers.ts';
import { setRequestTarget } from '../pipeline/request-target.ts';
import type { AuthorizationVerdict, HeaderMutation } from './service.ts';

/**
 * Of the framing of a message, or of where it goes: an authorizer cannot change these.
 *
 * @param name lower case
 */
export const isFixed = (name: string): boolean => name.startsWith(':') || framesRequest(name);

/** What a response has once: Node's server of HTTP/2 throws at the application that sends it twice. */
const single: ReadonlySet<string> = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'age',
  'content-encoding',
  'content-language',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'etag',
  'expires',
  'last-modified',
  'location',
  'retry-after',
  'tk',
  'x-content-type-options',
  // Of requests, which a response has no use for.
  'access-control-request-method',
  'authorization',
  'dnt',
  'from',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'upgrade-insecure-requests',
  'user-agent',
]);

/** @param name lower case */
export const isSingle = (name: string): boolean => single.has(name);

/**
 * Is all that the authorizer wants to set something that HTTP can carry? What is not makes the whole
 * answer unusable: half of it could be less than was meant.
 */
export function isSendable(verdict: AuthorizationVerdict): boolean {
  const all = verdict.kind === 'allow' ? [...verdict.requestHeaders, ...verdict.responseHeaders] : verdict.headers;
  for (const { name, value } of all) {
    if (name.startsWith(':')) continue;
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      return false;
    }
  }
  return verdict.kind === 'allow' || verdict.status === undefined || isStatus(verdict.status);
}

const isStatus = (status: number): boolean => Number.isInteger(status) && status >= 200 && status <= 599;

/** Makes the request what the authorizer wants the application to see. */
export function applyToRequest(
  request: IncomingMessage,
  verdict: Extract<AuthorizationVerdict, { kind: 'allow' }>,
): void {
  for (const mutation of verdict.requestHeaders) {
    const name = mutation.name.toLowerCase();
    if (isFixed(name)) continue;
    const before = request.headers[name];
    const value = changed(Array.isArray(before) ? before.join(', ') : before, mutation, name);
    if (value !== undefined) setRequestHeader(request, name, value);
  }
  for (const name of verdict.removedHeaders) {
    if (!isFixed(name.toLowerCase())) removeRequestHeader(request, name.toLowerCase());
  }
  if (verdict.query !== undefined) setRequestTarget(request, withQuery(request.url ?? '', verdict.query));
}

/** The new value; nothing: it stays as it is. */
function changed(before: string | undefined, { action, value }: HeaderMutation, name: string): string | undefined {
  switch (action) {
    case 'overwrite':
      return value;
    case 'overwrite-if-exists':
      return before === undefined ? undefined : value;
    case 'add-if-absent':
      return before === undefined ? value : undefined;
    case 'append':
      return before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ','}${value}`;
  }
}

/** Parameters that are set or removed are taken out however they are written; those that are set follow the others. */
function withQuery(
  url: string,
  { remove, set }: { readonly set: readonly (readonly [string, string])[]; readonly remove: readonly string[] },
): string {
  const at = url.indexOf('?');
  const path = at === -1 ? url : url.slice(0, at);
  const parts = at === -1 ? [] : url.slice(at + 1).split('&');
  const dropped = new Set([...remove, ...set.map(([name]) => name)].map(decodedQuery));
  const kept = parts.filter((part) => {
    const name = decodedQuery(part.split('=', 1)[0] ?? '');
    return part !== '' && !dropped.has(name) && !dropped.has(rootOfName(name));
  });
  const removed = new Set(remove.map(decodedQuery));
  for (const [name, value] of set) {
    if (!removed.has(decodedQuery(name))) kept.push(`${inQuery(name).replaceAll('=', '%3D')}=${inQuery(value)}`);
  }
  return kept.length === 0 ? path : `${path}?${kept.join('&')}`;
}

/** Encoded already, as Envoy takes it; what is not, and would end the parameter, is encoded here. */
function inQuery(text: string): string {
  return text.toWellFormed().replaceAll(/%(?![0-9A-Fa-f]{2})|[&#]|[^\x21-\x7e]+/gu, encodeURIComponent);
}

/** Changes the head of the response when the application writes it. */
export function applyToResponse(response: ServerResponse, mutations: readonly HeaderMutation[]): void {
  if (mutations.length === 0) return;
  beforeHead(response, () => {
    for (const { action, name, value } of mutations) {
      if (isFixed(name.toLowerCase())) continue;
      const there = response.hasHeader(name);
      if (action === 'overwrite' || (action === 'overwrite-if-exists' && there)) response.setHeader(name, value);
      else if (!there && (action === 'append' || action === 'add-if-absent')) response.setHeader(name, value);
      else if (action === 'append' && !isSingle(name.toLowerCase())) response.appendHeader(name, value);
    }
  });
}
