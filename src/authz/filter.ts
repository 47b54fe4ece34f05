import { MeshError } from '../errors.ts';
import { describeProvenance } from '../model/provenance.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { Authorize } from './decide.ts';

/** Inside mtls, so that identity is known; outside everything that costs quota or work. */
export function authorizationFilter(authorize: Authorize): Filter<ServerCall, void> {
  return (call, next) => {
    const denial = authorize(call);
    if (denial === undefined) return next(call);
    const why =
      denial.policy === undefined ? 'no ALLOW policy matches' : `${describeProvenance(denial.policy)} denies it`;
    const who = call.peer?.spiffeId ?? 'a caller without identity';
    throw new MeshError('ERR_MESH_FORBIDDEN', `${call.method} ${call.path} by ${who}: ${why}`);
  };
}
