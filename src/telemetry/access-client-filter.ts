import type { Clock } from '../lib/clock.ts';
import { headerValue } from '../lib/header-list.ts';
import type { CallWatcher, ClientCall, Reply, ResponseHeaders } from '../pipeline/client-call.ts';
import { failureFlag } from '../pipeline/failure-flag.ts';
import type { Filter } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import type { AccessLog } from './access-log.ts';
import { loggedHeader, loggedPath } from './access-record.ts';

/** Logs each call once it has ended. Where there is no log, it costs a look at a flag. */
export function accessClientFilter(log: AccessLog, clock: Clock): Filter<ClientCall, Reply> {
  const watcher: CallWatcher = {
    callEnded(call, status, error) {
      const { cluster, endpoint, origin, requestBytes, responseBytes, request, route, running, startedAt, tries } =
        call;
      const durationMs = clock.now() - startedAt;
      const code = (error as { readonly code?: unknown } | undefined)?.code;
      const details = error === undefined ? 'via_upstream' : typeof code === 'string' ? code.toLowerCase() : 'failed';
      const { headers = {} } = (running ?? {}) as { readonly headers?: ResponseHeaders };
      log.write({
        direction: 'outbound',
        startTimeMs: clock.wallNow() - durationMs,
        durationMs,
        method: request.method,
        path: loggedPath(call.path, log.query),
        authority: headerValue(request.headers, 'host') ?? origin.slice(origin.indexOf('//') + 2),
        protocol: 'HTTP/1.1',
        status,
        flags: error === undefined ? call.flag : addFlag(call.flag, failureFlag(error, call)),
        details,
        bytesReceived: requestBytes,
        bytesSent: responseBytes,
        upstreamHost: endpoint?.name ?? '',
        upstreamCluster: cluster,
        transportFailure:
          code === 'ERR_MESH_CONNECT_FAILED' || code === 'ERR_MESH_TLS_FAILED' ? (error?.message ?? '') : '',
        localAddress: '',
        remoteAddress: '',
        peer: '',
        serverName: '',
        routeName: route,
        tries,
        requestHeader: (name) => loggedHeader(name, headerValue(request.headers, name), log.query),
        responseHeader: (name) => (Object.hasOwn(headers, name) ? textOf(headers[name]) : undefined),
      });
    },
  };
  return (call, next) => {
    if (log.on) call.watch(watcher);
    return next(call);
  };
}

const textOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(',') : value;
