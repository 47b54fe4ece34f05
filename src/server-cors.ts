import { inboundCorsFilter } from './cors/inbound-filter.ts';
import { inboundCorsPolicies } from './cors/inbound-policies.ts';
import type { InboundPolicy } from './model/inbound.ts';
import type { Filter } from './pipeline/filter.ts';
import type { ServerCall } from './pipeline/server-call.ts';
import { routesOf } from './route/matcher.ts';
import { routable } from './server-routable.ts';

/** What a request passes, where VirtualServices of the own services say something of CORS. */
export function corsFilters({ cors = [] }: InboundPolicy): readonly Filter<ServerCall, void>[] {
  if (cors.length === 0) return [];
  const policyFor = inboundCorsPolicies(cors, routesOf);
  return [inboundCorsFilter((call) => policyFor(routable(call)))];
}
