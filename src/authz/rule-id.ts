import type { Provenance } from '../model/provenance.ts';

/** Name of a rule as istiod gives it to Envoy: `ns[shop]-policy[no-admin]-rule[0]`. */
export function ruleId({ namespace, name }: Provenance, rule: number): string {
  return `ns[${namespace}]-policy[${name}]-rule[${rule}]`;
}

/** Envoy's response code detail of a refusal; `none` where no rule matched and one would have had to. */
export function deniedDetail(id: string): string {
  return `rbac_access_denied_matched_policy[${id}]`;
}
