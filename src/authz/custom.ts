import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { AuthorizationOptions } from './authorizer.ts';
import { type AuthorizationFacts, type DerivedFacts, nothingDerived } from './rule.ts';
import { compileRuleSet, type PolicyRule } from './rule-set.ts';

/** A CUSTOM rule that matched a request. */
export interface CustomMatch {
  readonly rule: PolicyRule;
  /** Whom to ask; nothing: nobody can be asked, and the request is refused. */
  readonly provider: string | undefined;
  /**
   * Name of the rule as istiod gives it: `istio-ext-authz-<provider>-ns[..]-policy[..]-rule[..]`, with
   * `-deny-due-to-bad-CUSTOM-action` behind it where nobody can be asked.
   */
  readonly id: string;
}

/** The CUSTOM policies of a workload. */
export interface CustomRules {
  /** Of the enforced ones, in the order of their names. */
  readonly providers: readonly string[];
  /** Why nobody can be asked: several providers, or one that is not defined. */
  readonly problem: string | undefined;
  /** The first rule that matches; nothing when the request is not for a provider. */
  find(facts: AuthorizationFacts, derived?: DerivedFacts): CustomMatch | undefined;
}

/**
 * Compiles the CUSTOM policies of a workload; nothing when there are none. As in Istio, a workload has one
 * provider; with several, or with one that is not `defined`, what their rules match is refused and
 * everything else passes. Rules are read as those of DENY policies are: rather asked too often.
 * Policies that are only tried out ask nobody.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a rule cannot say
 */
export function compileCustom(
  policies: readonly AuthorizationPolicy[],
  defined: (provider: string) => boolean,
  options: AuthorizationOptions = {},
): CustomRules | undefined {
  const custom = policies.filter(({ action, dryRun }) => action === 'CUSTOM' && dryRun !== true);
  if (custom.length === 0) return undefined;
  const providers = [...new Set(custom.map(({ provider = '' }) => provider))].sort();
  const problem = problemOf(providers, defined);
  const rules = compileRuleSet(custom, { action: 'DENY', literalPaths: options.paths === 'literal' });
  const matches = custom.flatMap(({ provider = '', rules: all }) => all.map(() => provider));
  const found = rules.rules.map((rule, at): CustomMatch => {
    const id = `istio-ext-authz-${matches[at]}-${rule.id}`;
    return problem === undefined
      ? { rule, provider: matches[at], id }
      : { rule, provider: undefined, id: `${id}-deny-due-to-bad-CUSTOM-action` };
  });
  return {
    providers,
    problem,
    find(facts, derived = nothingDerived()) {
      const at = rules.find(facts, derived);
      return at === -1 ? undefined : found[at];
    },
  };
}

function problemOf(providers: readonly string[], defined: (provider: string) => boolean): string | undefined {
  if (providers.length > 1) {
    return `CUSTOM policies of one workload must have one provider, and these have ${providers.join(', ')}`;
  }
  const missing = providers.find((provider) => !defined(provider));
  return missing === undefined ? undefined : `there is no extension provider ${JSON.stringify(missing)}`;
}
