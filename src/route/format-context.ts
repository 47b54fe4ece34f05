import type { HeaderRecord } from '../lib/header-edit.ts';
import type { FormatContext } from '../lib/header-format.ts';
import { headerReader, type RoutableRequest } from './request-view.ts';

/** What the operators in a header value see of a request, and of its response once there is one. */
export function formatContext(
  request: RoutableRequest,
  routeName: string,
  startTimeMs: number,
  status = 0,
  response: HeaderRecord = {},
): FormatContext {
  return {
    requestHeader: (name) => headerReader(name)(request),
    responseHeader(name) {
      const value = response[name];
      return Array.isArray(value) ? value.join(',') : value;
    },
    status,
    routeName,
    startTimeMs: () => startTimeMs,
  };
}
