import { forwardedClientCertHeader, isForwardedClientCert } from '../lib/forwarded-client-cert.ts';
import { defaultForwardClientCert, type ForwardClientCert, type InboundPolicy } from '../model/inbound.ts';
import { maxHeaderCount, removeReserved } from '../sanitize/headers.ts';
import { hostProblem, isSameHost } from '../sanitize/host-header.ts';
import { hasBrokenEscape, normalizePath } from '../sanitize/normalize-path.ts';
import { parseTarget } from '../sanitize/target.ts';
import { asRequest, inBytes, type RequestView, requestView, setHeader } from './header-view.ts';
import type { ExplainRequest } from './request.ts';
import type { InboundExplanation } from './result.ts';

/** A request behind the front door: what decisions and the application see of it. */
export interface Arrival {
  readonly method: string;
  /** Canonical, without query. */
  readonly path: string;
  readonly rawPath: string;
  readonly host: string;
  readonly hostConflict: boolean;
  readonly view: RequestView;
}

type Refusal = Pick<InboundExplanation, 'decision' | 'status' | 'reason'>;

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: HTTP does not allow these in values.
const notInValues = /[\u0000-\u0008\u000A-\u001F\u007F]/;

/**
 * What the sanitize and peer filters make of a request, or why they refuse it.
 *
 * @param caller SPIFFE ID that the certificate of the caller proves
 * @param own SPIFFE ID of this workload
 */
export function arrive(
  { forwardClientCert = defaultForwardClientCert, pathNormalization }: InboundPolicy,
  request: ExplainRequest,
  caller: string | undefined,
  own: string,
  maxHeaders: number = maxHeaderCount,
): Arrival | Refusal {
  const { headers = [], method = 'GET', to = {} } = request;
  const pairs = (Array.isArray(headers) ? headers : Object.entries(headers)) as readonly (readonly [string, string])[];
  const hosts = pairs.filter(([name]) => name.toLowerCase() === 'host');
  const bad = pairs.find(([name, value]) => !token.test(name) || notInValues.test(value));
  if (bad !== undefined) return reject(400, `not a header of HTTP: ${JSON.stringify(bad[0])}`);
  if (method === 'TRACE') return reject(405, 'TRACE would show headers to the caller');
  if (pairs.length > maxHeaders) return reject(431, `${pairs.length} headers, ${maxHeaders} are allowed`);
  const coding = pairs.find(([name]) => name.toLowerCase() === 'transfer-encoding');
  if (coding !== undefined && coding[1].toLowerCase() !== 'chunked')
    return reject(400, 'the transfer coding is not chunked');
  if (hosts.length > 1) return reject(400, 'more than one Host header');
  const target = parseTarget(request.path ?? '/', method);
  if (typeof target === 'string') return reject(400, target);
  if (hasBrokenEscape(target.path)) {
    return reject(400, 'a % in the path is not followed by two hexadecimal digits');
  }
  const path = normalizePath(target.path, pathNormalization);
  if (path === undefined) return reject(400, 'the path contains an encoded NUL');
  const [[, written] = [undefined, undefined]] = hosts;
  const named = request.authority ?? written ?? to.host ?? '';
  const host = target.authority || named;
  for (const each of [host, named, written ?? '']) {
    const problem = each === '' ? undefined : hostProblem(each);
    if (problem !== undefined) return reject(400, problem);
  }
  const differs = (other: string): boolean => other !== '' && host !== '' && !isSameHost(other, host);
  const rawHeaders = pairs.flatMap(([name, value]) => [name, inBytes(value)]);
  const view = requestView(rawHeaders, path + target.query);
  takeClientCert(view, forwardClientCert, caller, own);
  return { method, path, rawPath: target.path, host, hostConflict: differs(named) || differs(written ?? ''), view };
}

function reject(status: number, reason: string): Refusal {
  return { decision: 'reject', status, reason };
}

/** Removes what only the mesh may say, and says it. There is no certificate here: its hash is a word. */
function takeClientCert(
  view: RequestView,
  { details, mode }: ForwardClientCert,
  caller: string | undefined,
  own: string,
): void {
  const given = view.headers[forwardedClientCertHeader];
  removeReserved(asRequest(view));
  const handsOn =
    mode === 'ALWAYS_FORWARD_ONLY' || (caller !== undefined && (mode === 'FORWARD_ONLY' || mode === 'APPEND_FORWARD'));
  const parts: string[] = [];
  if (handsOn && given !== undefined && (mode !== 'APPEND_FORWARD' || isForwardedClientCert(given))) parts.push(given);
  if (caller !== undefined && (mode === 'SANITIZE_SET' || mode === 'APPEND_FORWARD')) {
    const fields = [`By=${own}`, 'Hash=(hash of the certificate)'];
    if (details.subject) fields.push('Subject=""');
    if (details.uri) fields.push(`URI=${caller}`);
    parts.push(fields.join(';'));
  }
  if (parts.length === 0) return;
  setHeader(view, forwardedClientCertHeader, parts.join(','));
}
