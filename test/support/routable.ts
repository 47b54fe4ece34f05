import type { RoutableRequest } from '../../src/route/request-view.ts';

/** A GET for `http://h/` with everything else at its default. */
export function routable(path = '/', changes: Partial<RoutableRequest> = {}): RoutableRequest {
  return { method: 'GET', path, headers: [], secure: false, hostHeader: 'h', scope: undefined, ...changes };
}
