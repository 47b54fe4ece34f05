import type { ServerCall } from './pipeline/server-call.ts';
import type { RoutableRequest } from './route/request-view.ts';

/** A request that arrived, as routes see it. */
export function routable({ connection, host, method, request }: ServerCall): RoutableRequest {
  return {
    method,
    path: request.url ?? '',
    headers: request.rawHeaders as string[],
    secure: connection?.encrypted === true,
    hostHeader: host,
    scope: undefined,
  };
}
