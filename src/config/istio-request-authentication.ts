import { framesRequest } from '../lib/header-edit.ts';
import { parseJwks } from '../lib/jwks.ts';
import type { JwtKeys, JwtRule, RequestAuthentication } from '../model/request-authentication.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { byAge, type Resource } from './resource.ts';
import { type JwtRuleSpec, type RequestAuthenticationBody, wrongKeySet } from './validate-request-authentication.ts';
import { durationMs, selects } from './values.ts';

export type { RequestAuthenticationBody } from './validate-request-authentication.ts';

/** Istio's, for one request for keys. */
const defaultTimeoutMs = 5_000;

const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * Compiles all RequestAuthentications, also those for other workloads: a mistake in one is a mistake
 * of the folder. All that apply count together, as in Istio: those of the root namespace, then those
 * of the workload's own, each in the order of their age.
 */
export function compileRequestAuthentication(
  resources: readonly Resource<RequestAuthenticationBody>[],
  workload: Workload,
  mesh: Pick<MeshSettings, 'rootNamespace'>,
  collector: Collector,
): readonly RequestAuthentication[] {
  const { rootNamespace } = mesh;
  const compiled = [...resources].sort(byAge).map((resource) => ({
    resource,
    rules: (resource.body.spec?.jwtRules ?? []).map((rule, index) => compileRule(rule, resource, index, collector)),
  }));
  const applies = ({ body, namespace }: Resource<RequestAuthenticationBody>): boolean =>
    (namespace === rootNamespace || namespace === workload.namespace) &&
    selects(body.spec?.selector?.matchLabels ?? {}, workload.labels);
  const level = ({ namespace }: Resource): number => (namespace === rootNamespace ? 0 : 1);
  return compiled
    .filter(({ resource, rules }) => rules.length > 0 && applies(resource))
    .sort((a, b) => level(a.resource) - level(b.resource))
    .map(({ resource, rules }) => ({ rules, provenance: collector.at(resource, ['kind'], true) }));
}

function compileRule(rule: JwtRuleSpec, resource: Resource, index: number, collector: Collector): JwtRule {
  const path: Path = ['spec', 'jwtRules', index];
  const { outputClaimToHeaders = [], outputPayloadToHeader = '', timeout } = rule;
  if (outputPayloadToHeader !== '') {
    checkOutput(outputPayloadToHeader, resource, [...path, 'outputPayloadToHeader'], collector);
  }
  for (const [at, { header }] of outputClaimToHeaders.entries()) {
    checkOutput(header, resource, [...path, 'outputClaimToHeaders', at, 'header'], collector);
  }
  return {
    issuer: rule.issuer ?? '',
    audiences: rule.audiences ?? [],
    keys: keysOf(rule, resource, path, collector),
    fromHeaders: (rule.fromHeaders ?? []).map(({ name, prefix = '' }) => ({ name: name.toLowerCase(), prefix })),
    fromParams: rule.fromParams ?? [],
    fromCookies: rule.fromCookies ?? [],
    ...(outputPayloadToHeader === '' ? {} : { outputPayloadToHeader: outputPayloadToHeader.toLowerCase() }),
    outputClaimToHeaders: outputClaimToHeaders.map(({ claim, header }) => ({ claim, header: header.toLowerCase() })),
    forwardOriginalToken: rule.forwardOriginalToken ?? false,
    timeoutMs: timeout === undefined ? defaultTimeoutMs : durationMs(timeout),
    spaceDelimitedClaims: rule.spaceDelimitedClaims ?? [],
    ...(rule.presence === 'REQUIRED' ? { required: true } : {}),
  };
}

function checkOutput(name: string, resource: Resource, path: Path, collector: Collector): void {
  if (!headerName.test(name)) collector.refuse(resource, path, 'must be the name of a header', name);
  else if (framesRequest(name.toLowerCase())) {
    collector.refuse(resource, path, 'is refused: the header frames the request, and no claim may say it', name);
  }
}

function keysOf(rule: JwtRuleSpec, resource: Resource, path: Path, collector: Collector): JwtKeys {
  const { jwks = '' } = rule;
  if (jwks !== '') {
    const at = [...path, 'jwks'];
    // What Istio refuses was said already.
    const unusable = wrongKeySet(jwks) === undefined ? problemOf(jwks) : undefined;
    if (unusable !== undefined) collector.refuse(resource, at, `is refused: ${unusable}`);
    return { kind: 'inline', jwks };
  }
  const name = rule.jwksUri === undefined ? 'jwks_uri' : 'jwksUri';
  const uri = rule[name] ?? '';
  // Keys over http, and issuers that are no URL, are findings of the analysis.
  return uri === '' ? { kind: 'discovery' } : { kind: 'uri', uri };
}

/** Also says which keys are left out when none is left. */
function problemOf(jwks: string): string | undefined {
  try {
    parseJwks(jwks);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
