import type { Clock } from '../lib/clock.ts';
import { headerValue } from '../lib/header-list.ts';
import type { CallWatcher, ClientCall, Reply, ResponseHeaders } from '../pipeline/client-call.ts';
import { failureFlag } from '../pipeline/failure-flag.ts';
import type { Filter } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import type { SideLog } from './access-log.ts';
import type { AccessRecord } from './access-record.ts';

/** Logs each call once it has ended. Where there is no log, it costs a look at a flag. */
export function accessClientFilter(log: SideLog, clock: Clock): Filter<ClientCall, Reply> {
  const watcher: CallWatcher = {
    callEnded: (call, status, error) => log.write(clientRecord(clock, call, status, error)),
  };
  return (call, next) => {
    if (log.on) call.watch(watcher);
    return next(call);
  };
}

/** What is known of a call that has ended. */
export function clientRecord(clock: Clock, call: ClientCall, status: number, error: Error | undefined): AccessRecord {
  const { cluster, endpoint, origin, requestBytes, responseBytes, request, route, startedAt, tries } = call;
  const durationMs = clock.now() - startedAt;
  const headers: ResponseHeaders = call.localHeaders ?? call.running?.headers ?? {};
  return {
    direction: 'outbound',
    startTimeMs: clock.wallNow() - durationMs,
    durationMs,
    method: request.method,
    target: call.path,
    authority: headerValue(request.headers, 'host') ?? origin.slice(origin.indexOf('//') + 2),
    protocol: 'HTTP/1.1',
    status,
    flags: error === undefined ? call.flag : addFlag(call.flag, failureFlag(error, call)),
    details: detailsOf(error),
    bytesReceived: requestBytes,
    bytesSent: responseBytes,
    upstreamHost: endpoint?.name ?? '',
    upstreamCluster: cluster,
    transportFailure: transportFailureOf(error),
    localPort: portOf(origin),
    localAddress: '',
    remoteAddress: '',
    peer: '',
    serverName: '',
    routeName: route,
    tries,
    grpcStatus: call.grpcStatus,
    requestHeader: (name) => headerValue(request.headers, name),
    responseHeader: (name) => (Object.hasOwn(headers, name) ? textOf(headers[name]) : undefined),
  };
}

/** Why a call ended as it did, as `RESPONSE_CODE_DETAILS` has it. */
export function detailsOf(error: Error | undefined): string {
  if (error === undefined) return 'via_upstream';
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code.toLowerCase() : 'failed';
}

/** What went wrong with a connection; '' where nothing did. */
export function transportFailureOf(error: Error | undefined): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return code === 'ERR_MESH_CONNECT_FAILED' || code === 'ERR_MESH_TLS_FAILED' ? (error?.message ?? '') : '';
}

/** Of `http://reviews:9080`. */
function portOf(origin: string): number {
  const port = origin.slice(origin.lastIndexOf(':') + 1);
  if (/^\d{1,5}$/.test(port)) return Number(port);
  return origin.startsWith('https:') ? 443 : 80;
}

const textOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(',') : value;
