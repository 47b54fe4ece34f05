import { type ConnectionFacts, compileConnectionAuthorizer } from '../authz/connection.ts';
import { nameOf } from '../authz/verdicts.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import type { ExplainRequest } from './request.ts';
import type { InboundExplanation } from './result.ts';

/** What policies say about a connection whose bytes nobody reads: what `mesh.listenTcp` does. */
export function explainConnection(
  { authorization, rbac = [] }: InboundPolicy,
  { from = {}, sni = '', to = {} }: ExplainRequest,
  peer: ConnectionFacts['peer'],
  localPort: number,
): Pick<InboundExplanation, 'decision' | 'policy' | 'rule' | 'at' | 'detail' | 'reason'> {
  const authorize = compileConnectionAuthorizer(authorization, undefined, rbac);
  const facts = { peer, localPort, sourceAddress: from.ip, destinationAddress: to.ip, sni };
  const { allowed, detail, policy, reason, rule } = authorize(facts);
  return {
    decision: allowed ? 'allow' : 'deny',
    ...(policy === undefined ? {} : { policy: nameOf(policy), at: policy }),
    ...(rule === undefined ? {} : { rule }),
    ...(detail === '' ? {} : { detail }),
    reason: reasons[reason],
  };
}

const reasons = {
  denied: 'a rule matches that refuses connections; what it says of requests is left out',
  'not-allowed': 'there are ALLOW policies, and no rule matches that can be decided without requests',
  allowed: 'a rule of an ALLOW policy matches',
  'not-denied': 'no ALLOW policy is for this workload, and no DENY policy matches',
  provider: 'no provider can be asked about a connection',
} as const;
