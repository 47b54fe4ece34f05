import { compileApplies } from '../authz/applies.ts';
import type { AuthorizationFacts } from '../authz/rule.ts';
import type { AuthorizationRule } from '../model/authorization.ts';
import type { InboundPolicy } from '../model/inbound.ts';

interface CompiledLimit {
  readonly name: string;
  applies(facts: AuthorizationFacts): boolean;
}

const compiled = new WeakMap<InboundPolicy, readonly CompiledLimit[]>();

/** The names of the rate limits that count a request with these facts, in the order in which they are asked. */
export function explainRateLimits(policy: InboundPolicy, facts: AuthorizationFacts): readonly string[] {
  let limits = compiled.get(policy);
  if (limits === undefined) compiled.set(policy, (limits = compileLimits(policy)));
  return limits.filter((limit) => limit.applies(facts)).map(({ name }) => name);
}

function compileLimits({ globalRateLimits = [], localRateLimits = [] }: InboundPolicy): readonly CompiledLimit[] {
  const anyOf = (lists: readonly (readonly AuthorizationRule[])[]): CompiledLimit['applies'] => {
    const conditions = lists.map((rules) => compileApplies(rules));
    return (facts) => conditions.some((condition) => condition(facts));
  };
  return [
    ...localRateLimits.map(({ name, rules, shadow }) => ({ name: told(name, shadow), applies: anyOf([rules]) })),
    ...globalRateLimits.map(({ descriptors, name, shadow }) => ({
      name: told(name, shadow),
      applies: anyOf(descriptors.map(({ rules }) => rules)),
    })),
  ];
}

function told(name: string, shadow: boolean): string {
  return shadow ? `${name} (shadow)` : name;
}
