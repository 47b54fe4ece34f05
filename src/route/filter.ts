import type { Clock } from '../lib/clock.ts';
import { changeList, changeRaw, changeRecord } from '../lib/header-edit.ts';
import { headerValue, setHeader } from '../lib/header-list.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import { editResponse, type ResponseEditor } from '../pipeline/edit-response.ts';
import type { Filter } from '../pipeline/filter.ts';
import { formatContext } from './format-context.ts';
import { changesOf } from './header-edits.ts';
import type { DestinationPlan } from './plan.ts';
import type { RoutableRequest } from './request-view.ts';

/**
 * Makes of the request what is sent: header edits first, which still see the path and authority
 * that were asked for, then authority and path, as Envoy's router does it. Responses have their
 * header edits on the way to the application, also those that the mesh makes of a failure.
 */
export function routeFilter(plan: DestinationPlan, clock: Clock): Filter<ClientCall, Reply> {
  const { authority, edits, route } = plan;
  const editor = responseEditor(plan, clock);
  return (call, next) => {
    const { headers, path } = call.request;
    for (const edit of edits.request) {
      changeList(
        headers,
        changesOf(edit, () => formatContext(viewOf(call), route.name, startTimeMs(call, clock))),
      );
    }
    if (editor !== undefined) editResponse(call, editor);
    if (authority !== undefined) {
      setHeader(headers, 'x-envoy-original-host', headerValue(headers, 'host') ?? requestedHost(call));
      setHeader(headers, 'host', authority);
      call.host = '';
    }
    if (call.path !== path) setHeader(headers, 'x-envoy-original-path', path);
    return next(call);
  };
}

/** The header edits of responses, for those that are given before the filter has its turn; nothing for none. */
export function responseEditor({ edits, route }: DestinationPlan, clock: Clock): ResponseEditor | undefined {
  if (edits.response.length === 0) return undefined;
  return (call, status, headers) => {
    for (const edit of edits.response) {
      const changes = changesOf(edit, () =>
        formatContext(viewOf(call), route.name, startTimeMs(call, clock), status, headers),
      );
      changeRecord(headers, changes);
      if (call.rawHeaders !== null) call.rawHeaders = changeRaw<string | Buffer>(call.rawHeaders, changes) as Buffer[];
    }
  };
}

function startTimeMs(call: ClientCall, clock: Clock): number {
  return clock.wallNow() - (clock.now() - call.startedAt);
}

/** The request as the application made it. */
function viewOf(call: ClientCall): RoutableRequest {
  const { headers, method, path } = call.request;
  const secure = call.origin.startsWith('https:');
  return { method, path, headers, secure, hostHeader: requestedHost(call), scope: call.scope };
}

function requestedHost({ host, origin }: ClientCall): string {
  return host === '' ? origin.slice(origin.indexOf('://') + 3) : host;
}
