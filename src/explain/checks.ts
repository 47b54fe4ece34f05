import type { AuthorizationFacts } from '../authz/facts.ts';
import { findRbacPolicy, inScope } from '../authz/rbac.ts';
import type { ExternalCheck } from '../model/rbac.ts';
import { type CustomExplanation, explainCustom } from './custom.ts';
import type { RequestView } from './header-view.ts';
import type { RemoteDocuments } from './remote-keys.ts';

/** The first of Envoy's ext_authz filters that asks about this request, as {@link explainCustom} tells of CUSTOM policies. */
export function explainChecks(
  checks: readonly ExternalCheck[] = [],
  facts: AuthorizationFacts,
  view: RequestView,
  remote: RemoteDocuments,
  paths: 'views' | 'literal',
): CustomExplanation | undefined {
  for (const { authorizer, provenance, scope, when } of checks) {
    if (!inScope(scope)(facts.localPort)) continue;
    const policy = when === undefined ? undefined : findRbacPolicy(when, { paths })(facts);
    if (when !== undefined && policy === undefined) continue;
    const { name } = authorizer;
    const by = policy ?? { name, provenance, rule: 0 };
    const rule = { policy: by.provenance, rule: by.rule, id: by.name };
    const rules = { providers: [name], problem: undefined, find: () => ({ rule, provider: name, id: by.name }) };
    return explainCustom(rules, [authorizer], facts, view, remote);
  }
  return undefined;
}
