import { discoveryUrl } from '../../lib/openid-discovery.ts';
import { hostOf, isLoopbackHost, whyNeverFetched } from '../../lib/special-addresses.ts';
import type { Resource } from '../resource.ts';
import type { RequestAuthenticationBody } from '../validate-request-authentication.ts';
import type { AnalysisContext, Analyzer } from './context.ts';
import { knownServices } from './known-services.ts';
import { selectorOf } from './selectors.ts';

type Authentication = Resource<RequestAuthenticationBody>;

/** Rules whose keys cannot be got, or not from whom they should be. */
export const analyzeKeysOfTokens: Analyzer = (context) => {
  for (const resource of context.ofKind<RequestAuthenticationBody>('RequestAuthentication')) {
    for (const [index, { issuer = '', jwks = '', ...rule }] of (resource.body.spec?.jwtRules ?? []).entries()) {
      if (jwks !== '') continue;
      const name = rule.jwksUri === undefined ? 'jwks_uri' : 'jwksUri';
      const uri = rule[name] ?? '';
      const path = ['spec', 'jwtRules', index];
      if (uri !== '') {
        const never = whyNeverFetched(uri);
        if (never !== undefined) {
          context.report('INMESH0006', resource, [...path, name], `all of its tokens are refused: ${never}`, {
            value: uri,
          });
          continue;
        }
        // A service in these files is asked through the mesh, which has its own ways to be sure of it.
        if (!isPlainHttp(uri) || isService(uri, resource.namespace, context)) continue;
        const message = 'whoever is on the way to this http URL can exchange the keys, and make tokens';
        context.report('INMESH0007', resource, [...path, name], message, { value: uri });
        continue;
      }
      const problem = whyNoDiscovery(issuer);
      if (problem !== undefined) {
        context.report('INMESH0006', resource, [...path, 'issuer'], `all of its tokens are refused: ${problem}`, {
          value: issuer,
        });
      }
    }
  }
};

/** The classic mistake: tokens are looked at where there are any, and nobody has to have one. */
export const analyzeOptionalTokens: Analyzer = (context) => {
  const demanding = context.ofKind<PolicyBody>('AuthorizationPolicy').filter(looksAtTokens);
  for (const resource of context.ofKind<RequestAuthenticationBody>('RequestAuthentication')) {
    const { jwtRules = [] } = resource.body.spec ?? {};
    if (jwtRules.length === 0 || jwtRules.some(({ presence }) => presence === 'REQUIRED')) continue;
    if (demanding.some((policy) => share(resource, policy, context))) continue;
    const message =
      'requests without a token pass: no AuthorizationPolicy for these workloads looks at requestPrincipals or request.auth';
    context.report('INMESH0008', resource, ['spec', 'jwtRules'], message);
  }
};

interface PolicyBody {
  readonly spec?: {
    readonly rules?: readonly {
      readonly from?: readonly { readonly source?: object }[];
      readonly when?: readonly { readonly key?: string }[];
    }[];
  };
}

function looksAtTokens({ body }: Resource<PolicyBody>): boolean {
  return (body.spec?.rules ?? []).some(
    ({ from = [], when = [] }) =>
      from.some(({ source = {} }) => 'requestPrincipals' in source || 'notRequestPrincipals' in source) ||
      when.some(({ key = '' }) => key.startsWith('request.auth.')),
  );
}

/** Whether both are for one workload: in their namespaces, or everywhere where one is in the root namespace. */
function share(authentication: Authentication, policy: Resource<PolicyBody>, context: AnalysisContext): boolean {
  const root = context.mesh.rootNamespace;
  const near = [authentication.namespace, policy.namespace];
  if (near[0] !== near[1] && !near.includes(root)) return false;
  const [a, b] = [selectorOf(authentication).labels, selectorOf(policy).labels];
  // Where no label contradicts, there may be a workload that has them all.
  return Object.entries(a).every(([key, value]) => (b[key] ?? value) === value);
}

function whyNoDiscovery(issuer: string): string | undefined {
  try {
    discoveryUrl(issuer);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function isService(uri: string, namespace: string, context: AnalysisContext): boolean {
  const host = hostOf(uri);
  const { clusterDomain } = context.workload;
  // `keys`, `keys.auth`, `keys.auth.svc` and the full name.
  const names = [host, `${host}.svc.${clusterDomain}`, `${host}.${clusterDomain}`];
  const services = knownServices(context);
  return names.some((name) => services.find(name, namespace) !== undefined);
}

function isPlainHttp(uri: string): boolean {
  return URL.parse(uri)?.protocol === 'http:' && !isLoopbackHost(hostOf(uri));
}
