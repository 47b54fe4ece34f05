import { changeRecord, type HeaderRecord } from '../lib/header-edit.ts';
import type { Route, RouteMatch } from '../model/route.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';
import { formatContext } from './format-context.ts';
import { changesOf, compileEdits } from './header-edits.ts';
import { compileRedirect, requestedUrl } from './redirect.ts';
import type { RoutableRequest } from './request-view.ts';

/** The answer of a route to a request that met this match and came to this port. */
export type Answerer = (request: RoutableRequest, match: RouteMatch | undefined, port: number) => LocalAnswer;

/**
 * Compiles a redirect or a direct response; nothing for a route that leads to destinations. Header
 * edits of the route apply to the answer, as in Envoy, and may give it another content type.
 */
export function compileAnswer(route: Route): Answerer | undefined {
  const { direct, headers, redirect } = route;
  if (redirect === undefined && direct === undefined) return undefined;
  const edits = compileEdits(headers, undefined, true).response;
  const status = redirect?.status ?? direct?.status ?? 200;
  const locationOf = redirect === undefined ? undefined : compileRedirect(redirect);
  // Envoy names the requested URL in every direct response whose status may have a location.
  const located = locationOf ?? (status === 201 || (status >= 300 && status < 400) ? requestedUrl : undefined);
  // A response with one of these has no body (RFC 9110 section 6.4.1).
  const body = status === 204 || status === 304 ? Buffer.alloc(0) : bytesOf(direct?.body);

  return (request, match, port) => {
    const answer: HeaderRecord = {};
    if (located !== undefined) answer['location'] = located(request, match, port);
    for (const edit of edits) {
      changeRecord(
        answer,
        changesOf(edit, () => formatContext(request, route.name, 0, status, answer)),
      );
    }
    if (body.byteLength > 0) answer['content-type'] ??= 'text/plain';
    else delete answer['content-type'];
    if (status !== 204) answer['content-length'] = String(body.byteLength);
    return body.byteLength === 0 ? { status, headers: answer, flag: '' } : { status, headers: answer, body, flag: '' };
  };
}

function bytesOf(body: Uint8Array | string | undefined): Buffer {
  return body === undefined ? Buffer.alloc(0) : Buffer.from(body as string);
}
