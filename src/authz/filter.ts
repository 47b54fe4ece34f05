import { MeshError } from '../errors.ts';
import { describeProvenance } from '../model/provenance.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { AuthorizationObserver, Authorizer } from './authorizer.ts';

/** Inside mtls, so that identity is known; outside everything that costs quota or work. */
export function authorizationFilter(
  authorizer: Authorizer,
  observer?: AuthorizationObserver,
): Filter<ServerCall, void> {
  return (call, next) => {
    const verdict = authorizer.decide(call, observer);
    call.authorization = verdict;
    if (verdict.allowed) return next(call);
    const why =
      verdict.policy === undefined ? 'no ALLOW policy matches' : `${describeProvenance(verdict.policy)} denies it`;
    const who = call.peer?.spiffeId ?? 'a caller without identity';
    throw new MeshError('ERR_MESH_FORBIDDEN', `${call.method} ${call.path} by ${who}: ${why}`);
  };
}
