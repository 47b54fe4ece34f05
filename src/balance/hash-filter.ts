import { changeRaw, changeRecord } from '../lib/header-edit.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import { editResponse } from '../pipeline/edit-response.ts';
import type { Filter } from '../pipeline/filter.ts';
import { cookieChanges } from './hash-cookie.ts';
import type { RequestHash } from './request-hash.ts';

/**
 * Hashes the request as the application made it, once for all tries. A new cookie goes to the
 * application with the response, as Envoy gives it to whoever calls.
 */
export function hashFilter(hash: RequestHash): Filter<ClientCall, Reply> {
  if (!hash.makesCookies) {
    return (call, next) => {
      call.hash = hash.of(call.request, call.host, call.scope);
      return next(call);
    };
  }
  return (call, next) => {
    call.hash = hash.of(call.request, call.host, call.scope, (cookie) => setCookie(call, cookie));
    return next(call);
  };
}

function setCookie(call: ClientCall, cookie: string): void {
  const changes = cookieChanges(cookie);
  editResponse(call, (_, __, headers) => {
    changeRecord(headers, changes);
    if (call.rawHeaders !== null) call.rawHeaders = changeRaw<string | Buffer>(call.rawHeaders, changes) as Buffer[];
  });
}
