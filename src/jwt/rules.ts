import type { JwtRule } from '../model/request-authentication.ts';
import type { KeySource } from './keys.ts';

/** A rule with where its keys are. */
export interface LiveRule {
  readonly rule: JwtRule;
  readonly source: KeySource;
}

/** A place of a request where rules look for tokens. */
export interface TokenLocation {
  readonly kind: 'header' | 'param' | 'cookie';
  /** Of a header in lower case. */
  readonly name: string;
  /** Headers only: what the token stands behind; '': the whole value is the token. */
  readonly prefix: string;
  /** Those that look here, in the order in which they are asked. */
  readonly rules: readonly LiveRule[];
}

/** All rules that are for a workload, in the order of their issuers, as Istio puts them. */
export interface TokenRules {
  readonly rules: readonly LiveRule[];
  /** By the name of the header; within a name by prefix. */
  readonly headers: readonly (readonly TokenLocation[])[];
  readonly params: readonly TokenLocation[];
  readonly cookies: readonly TokenLocation[];
  /** Names of the headers that only the mesh may set, lower case. */
  readonly outputs: readonly string[];
  readonly required: readonly LiveRule[];
}

/** Where Envoy looks for the tokens of a rule that does not say where. */
const defaultHeader = { name: 'authorization', prefix: 'Bearer ' } as const;
const defaultParam = 'access_token';

/** Prepares rules for requests; once for each configuration. */
export function compileTokenRules(rules: readonly JwtRule[], liveOf: (rule: JwtRule) => LiveRule): TokenRules {
  const live = rules.map(liveOf).sort((a, b) => compare(a.rule.issuer, b.rule.issuer));
  const locations = new Map<string, TokenLocation & { readonly rules: LiveRule[] }>();
  const look = (kind: TokenLocation['kind'], name: string, prefix: string, rule: LiveRule): void => {
    const key = JSON.stringify([kind, name, prefix]);
    const known = locations.get(key);
    if (known === undefined) locations.set(key, { kind, name, prefix, rules: [rule] });
    else if (!known.rules.includes(rule)) known.rules.push(rule);
  };
  const outputs = new Set<string>();
  for (const each of live) {
    const { fromCookies, fromHeaders, fromParams, outputClaimToHeaders, outputPayloadToHeader } = each.rule;
    for (const { name, prefix } of fromHeaders) look('header', name, prefix, each);
    for (const name of fromParams) look('param', name, '', each);
    for (const name of fromCookies) look('cookie', name, '', each);
    if (fromHeaders.length + fromParams.length + fromCookies.length === 0) {
      look('header', defaultHeader.name, defaultHeader.prefix, each);
      look('param', defaultParam, '', each);
    }
    if (outputPayloadToHeader !== undefined) outputs.add(outputPayloadToHeader);
    for (const { header } of outputClaimToHeaders) outputs.add(header);
  }
  const sorted = [...locations.values()].sort((a, b) => compare(a.name, b.name) || compare(a.prefix, b.prefix));
  const ofKind = (kind: TokenLocation['kind']): readonly TokenLocation[] => sorted.filter((each) => each.kind === kind);
  return {
    rules: live,
    headers: [...Map.groupBy(ofKind('header'), ({ name }) => name).values()],
    params: ofKind('param'),
    cookies: ofKind('cookie'),
    outputs: [...outputs],
    required: live.filter(({ rule }) => rule.required === true),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
