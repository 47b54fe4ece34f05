import { type IncomingMessage, METHODS } from 'node:http';
import { MeshError } from '../errors.ts';
import type { Filter } from '../pipeline/filter.ts';
import { setRequestTarget } from '../pipeline/request-target.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';
import { maxHeaderCount, removeReserved, scanHeaders } from './headers.ts';
import { hostProblem, isSameHost } from './host-header.ts';
import { hasBrokenEscape, normalizePath, type PathNormalization } from './normalize-path.ts';
import { isCanonicalTarget, parseTarget } from './target.ts';

/**
 * First of all filters: refuses what readers of HTTP understand differently, brings the path to
 * one form for policy, router, logs and application alike, and removes headers that only the mesh
 * may assert.
 *
 * @param keepsClientCert leaves `x-forwarded-client-cert` to the filter that knows who the caller is
 * @param trustedProxies `InboundPolicy.numTrustedProxies`
 */
export function sanitizeFilter(
  mode: PathNormalization,
  keepsClientCert = false,
  trustedProxies = 0,
  maxHeaders: number = maxHeaderCount,
): Filter<ServerCall, void> {
  return (call, next) => {
    const { request } = call;
    call.trustedProxies = trustedProxies;
    checkVersion(request);
    if (call.method === 'TRACE') throw new MeshError('ERR_MESH_METHOD', 'TRACE would show headers to the caller');
    const { rawHeaders } = request;
    if (rawHeaders.length > maxHeaders * 2) {
      throw new MeshError('ERR_MESH_HEADERS_TOO_LARGE', `${rawHeaders.length / 2} headers, ${maxHeaders} are allowed`);
    }
    const { hosts, hints } = scanHeaders(rawHeaders);
    call.hints = hints;
    if ((hints & headerHints.coding) !== 0) checkTransferCoding(request);
    readHost(call, hosts);
    readTarget(call, mode);
    if ((hints & headerHints.reserved) !== 0) removeReserved(request, keepsClientCert);
    return next(call);
  };
}

function refuse(message: string): MeshError {
  return new MeshError('ERR_MESH_BAD_REQUEST', message);
}

/** What Node's parser of HTTP/1 lets pass; nghttp2 takes any word, in any letter case. */
const methods: ReadonlySet<string> = new Set(METHODS);

function checkVersion(request: IncomingMessage): void {
  const { httpVersion } = request;
  if (httpVersion === '1.1' || httpVersion === '1.0') return;
  if (isHttp2(request)) {
    // Whoever writes `delete` hopes that policy does not read it as DELETE, and that the framework does.
    if (!methods.has(request.method ?? '')) throw refuse('the method is none that HTTP/1 knows');
    return;
  }
  if (httpVersion === '0.9') throw refuse('HTTP/0.9 is not served');
  throw new MeshError('ERR_MESH_HTTP_VERSION', `HTTP/${httpVersion} is not served`);
}

/** A request of an HTTP/2 server of the application's own, through the compatibility API of Node. */
function isHttp2(request: IncomingMessage): boolean {
  return request.httpVersion === '2.0' && 'stream' in request;
}

function checkTransferCoding({ headers, httpVersion }: IncomingMessage): void {
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return;
  // RFC 9112 section 6.1: a sign of smuggling.
  if (httpVersion === '1.0') throw refuse('Transfer-Encoding in an HTTP/1.0 request');
  if (coding !== 'chunked' && coding.toLowerCase() !== 'chunked') throw refuse('the transfer coding is not chunked');
}

function readHost(call: ServerCall, hosts: number): void {
  const { request } = call;
  if (hosts > 1) throw refuse('more than one Host header');
  const { host } = request.headers;
  if (request.httpVersion === '2.0') {
    const authority = request.headers[':authority'];
    if (typeof authority === 'string') {
      takeAuthority(call, authority);
      call.hostConflict = host !== undefined && !isSameHost(host, authority);
      return;
    }
  }
  if (host === undefined) {
    // HTTP/1.0 knows no Host; from 1.1 on it is required (RFC 9112 section 3.2).
    if (request.httpVersion !== '1.0') throw refuse('no Host header');
    return;
  }
  const problem = hostProblem(host);
  if (problem !== undefined) throw refuse(problem);
  call.host = host;
}

function readTarget(call: ServerCall, mode: PathNormalization): void {
  const { request } = call;
  const url = request.url ?? '';
  // The usual target is a canonical path without query: nothing to take apart, nothing to rewrite.
  if (isCanonicalTarget(url)) {
    call.rawPath = url;
    call.path = url;
    return;
  }
  const target = parseTarget(url, call.method);
  if (typeof target === 'string') throw refuse(target);
  if (target.authority !== '') takeAuthority(call, target.authority);
  if (hasBrokenEscape(target.path)) throw refuse('a % in the path is not followed by two hexadecimal digits');
  const path = normalizePath(target.path, mode);
  if (path === undefined) throw refuse('the path contains an encoded NUL');
  call.rawPath = target.path;
  call.path = path;
  const canonical = path + target.query;
  if (canonical !== url) setRequestTarget(request, canonical);
}

/** RFC 9112 section 3.2.2: the host of an absolute-form target counts, the Host header does not. */
function takeAuthority(call: ServerCall, authority: string): void {
  const problem = hostProblem(authority);
  if (problem !== undefined) throw refuse(problem.replace('Host header', 'host of the request target'));
  if (call.host !== '' && !isSameHost(call.host, authority)) call.hostConflict = true;
  call.host = authority;
}
