import { type Authorizer, compileAuthorizer } from '../authz/authorizer.ts';
import { type CustomRules, compileCustom } from '../authz/custom.ts';
import type { AuthorizationFacts } from '../authz/facts.ts';
import { compileRbac, rbacAbout } from '../authz/rbac.ts';
import type { PolicyRule } from '../authz/rule-set.ts';
import { nameOf, type ShadowVerdict, type Verdict } from '../authz/verdicts.ts';
import { remoteAddressOf } from '../lib/forwarded-for.ts';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { ExternalAuthorizer } from '../model/external-authorizer.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import type { RbacFilter } from '../model/rbac.ts';
import type { JwtRule } from '../model/request-authentication.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { arrive } from './arrival.ts';
import { connectionRefusal, identityOf } from './caller.ts';
import { explainChecks } from './checks.ts';
import { explainCustom } from './custom.ts';
import { headersOf } from './header-view.ts';
import { explainInboundCors } from './inbound-cors.ts';
import { explainRateLimits } from './rate-limits.ts';
import type { ExplainedKeys, RemoteDocuments } from './remote-keys.ts';
import { type ExplainRequest, withoutUrl } from './request.ts';
import type { InboundExplanation, PassedOver } from './result.ts';
import { explainConnection } from './tcp.ts';
import { explainTokens } from './tokens.ts';
import { whyNot } from './why-not.ts';

/** What inbound explanations are made of. */
export interface InboundContext {
  readonly snapshot: Snapshot;
  readonly workload: Workload;
  /** How policies read paths; see `AuthorizationOptions`. Default: as requests are decided. */
  readonly paths?: 'views' | 'literal';
  /** How requests are decided. Default `views`. */
  readonly trafficPaths?: 'views' | 'literal';
  /** Whether a token without `exp` is accepted. Default `optional`. */
  readonly tokenExpiry?: 'optional' | 'required';
  /** Header fields of a request. Default 100. */
  readonly maxHeaders?: number | undefined;
  readonly remote: RemoteDocuments;
  keysOf(rule: JwtRule): ExplainedKeys;
  /** Milliseconds since the epoch, for requests that do not say. */
  now(): number;
}

type Parts = Omit<InboundExplanation, 'direction' | 'notes'> & Partial<Pick<InboundExplanation, 'notes'>>;

/** Runs the decisions of the server side for one request, without a server. */
export async function explainInbound(context: InboundContext, request: ExplainRequest): Promise<InboundExplanation> {
  const { decision, notes = [], ...parts } = await decide(context, request);
  return { decision, direction: 'inbound', ...parts, notes };
}

/** In the order of the server pipeline. */
async function decide(context: InboundContext, given: ExplainRequest): Promise<Parts> {
  const request = withoutUrl(given);
  if (typeof request === 'string') return { decision: 'reject', status: 400, reason: request };
  const { snapshot, workload } = context;
  const { inbound } = snapshot;
  const { from = {}, to = {} } = request;
  const localPort = to.port ?? request.port ?? 80;
  const identity = identityOf(from, workload.trustDomain);
  if (typeof identity === 'string') return { decision: 'reject', reason: identity };
  const tls = request.tls ?? (identity === undefined ? 'plaintext' : 'mtls');
  const refusal = connectionRefusal(inbound, localPort, tls);
  if (refusal !== undefined) return refusal;
  const peer = tls === 'mtls' ? identity : undefined;
  const unknown = tls === 'mtls' && peer === undefined;
  const notes: string[] = unknown ? ['the caller is not named, so no condition on its identity holds'] : [];

  if (request.protocol === 'tcp') return { ...explainConnection(inbound, request, peer, localPort), notes };
  const arrival = arrive(inbound, request, peer?.spiffeId, ownId(workload), context.maxHeaders);
  if ('reason' in arrival) return arrival;
  const { host, hostConflict, method, path, rawPath, view } = arrival;
  const { ip: sourceAddress } = from;
  const connection = {
    peer,
    method,
    path,
    rawPath,
    host,
    localPort,
    sourceAddress,
    remoteAddress: remoteAddressOf(sourceAddress, view.rawHeaders, inbound.numTrustedProxies ?? 0),
    destinationAddress: to.ip,
    sni: request.sni ?? '',
  };
  const before: AuthorizationFacts = { ...connection, claims: undefined, rawHeaders: view.rawHeaders };
  const { trafficPaths = 'views', paths = trafficPaths } = context;
  const policies = compiled(inbound.authorization, paths);

  const custom =
    explainCustom(
      policies.custom(inbound.authorizers ?? []),
      inbound.authorizers ?? [],
      before,
      view,
      context.remote,
    ) ?? explainChecks(inbound.checks, before, view, context.remote, paths);
  if (custom?.refusal !== undefined) return { ...custom.refusal, custom: custom.explained, path, notes };
  const asked = custom === undefined ? {} : { custom: custom.explained };
  if (custom?.note !== undefined) notes.push(custom.note);

  const tokens = await explainTokens(inbound, view, method, context.keysOf, request.nowMs ?? context.now(), {
    requireExpiry: context.tokenExpiry === 'required',
  });
  notes.push(...('refusal' in tokens ? (tokens.refusal.notes ?? []) : tokens.notes));
  if ('refusal' in tokens) return { ...tokens.refusal, ...asked, path, notes };

  const claims = tokens.claims ?? request.claims;
  const facts: AuthorizationFacts = { ...connection, claims, rawHeaders: view.rawHeaders };
  const authorization = authorize(authorizersOf(inbound, paths), facts);
  const { verdict } = authorization;
  if (verdict.allowed && paths === 'literal' && trafficPaths === 'views') {
    const { verdict: stricter } = authorize(authorizersOf(inbound, 'views'), facts);
    if (!stricter.allowed) notes.push('refused in traffic: a router could read this path in another way');
  }
  const decided = {
    ...(verdict.policy === undefined ? {} : { policy: nameOf(verdict.policy), at: verdict.policy }),
    ...(verdict.rule === undefined ? {} : { rule: verdict.rule }),
    ...(authorization.shadow.length === 0 ? {} : { shadow: authorization.shadow }),
    ...(authorization.audit === undefined ? {} : { audit: authorization.audit }),
    ...principalOf(claims),
    ...asked,
    path,
  };
  const passedOver = passedOverBy(inbound.authorization, paths, facts, verdict);
  if (!verdict.allowed) {
    const { detail, reason } = verdict;
    return {
      decision: 'deny',
      status: 403,
      detail,
      reason: `${detail}: ${denials[reason] ?? reason}`,
      ...decided,
      passedOver,
      notes,
    };
  }
  if (hostConflict) {
    return { decision: 'reject', status: 400, reason: 'the request names two different hosts', ...decided, notes };
  }
  const limits = explainRateLimits(inbound, facts);
  const limited = limits.length === 0 ? {} : { rateLimits: limits };
  const cors = explainInboundCors(inbound, method, host, view, tls !== 'plaintext');
  if (cors.direct !== undefined) {
    const reason = 'a CORS preflight, answered by corsPolicy of a VirtualService for this workload';
    const { status } = cors.direct;
    return { decision: 'direct', status, ...decided, ...limited, ...cors, reason, passedOver, notes };
  }
  return {
    decision: 'allow',
    status: 200,
    ...decided,
    ...limited,
    ...cors,
    url: view.url,
    requestHeaders: headersOf(view),
    reason: verdict.policy === undefined ? nobodyDenies(inbound.authorization) : 'a rule of an ALLOW policy matches',
    passedOver,
    notes,
  };
}

const denials: Readonly<Record<string, string>> = {
  denied: 'a rule of a DENY policy matches',
  'not-allowed': 'there are ALLOW policies for this workload, and no rule of any of them matches',
};

function nobodyDenies(policies: readonly AuthorizationPolicy[]): string {
  return policies.some(({ action, dryRun }) => action === 'ALLOW' && dryRun !== true)
    ? 'a rule of an ALLOW policy matches'
    : 'no ALLOW policy is for this workload, and no DENY policy matches';
}

function ownId({ namespace, serviceAccount, trustDomain }: Workload): string {
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
}

function principalOf(claims: Readonly<Record<string, unknown>> | undefined): { readonly requestPrincipal?: string } {
  const { iss, sub } = claims ?? {};
  return typeof iss === 'string' && typeof sub === 'string' && iss !== '' && sub !== ''
    ? { requestPrincipal: `${iss}/${sub}` }
    : {};
}

/** The rules that were asked before the one that decided, and did not match. */
function passedOverBy(
  policies: readonly AuthorizationPolicy[],
  paths: 'views' | 'literal',
  facts: AuthorizationFacts,
  verdict: Verdict,
): readonly PassedOver[] {
  const literalPaths = paths === 'literal';
  const of = (action: 'ALLOW' | 'DENY'): readonly AuthorizationPolicy[] =>
    policies.filter((policy) => policy.action === action && policy.dryRun !== true);
  if (verdict.reason === 'denied') return [];
  const denying = whyNot(of('DENY'), { action: 'DENY', literalPaths }, facts);
  if (verdict.allowed) return denying;
  return [...denying, ...whyNot(of('ALLOW'), { action: 'ALLOW', literalPaths }, facts)];
}

interface CompiledPolicies {
  readonly authorizer: Authorizer;
  custom(authorizers: readonly ExternalAuthorizer[]): CustomRules | undefined;
}

interface Authorization {
  readonly verdict: Verdict;
  readonly shadow: NonNullable<InboundExplanation['shadow']>;
  readonly audit?: NonNullable<InboundExplanation['audit']>;
}

function authorize(authorizers: readonly Authorizer[], facts: AuthorizationFacts): Authorization {
  const shadow: {
    readonly action: 'ALLOW' | 'DENY';
    readonly result: ShadowVerdict['result'];
    readonly matched: string;
  }[] = [];
  let audit: Authorization['audit'];
  const observer = {
    audited: (_: unknown, { policy, rule }: PolicyRule) => void (audit = { policy: nameOf(policy), rule }),
    shadowed: (_: unknown, { action, id, result }: ShadowVerdict) => void shadow.push({ action, result, matched: id }),
  };
  const [first, ...others] = authorizers as readonly [Authorizer, ...Authorizer[]];
  let verdict = first.decide(facts, observer);
  for (const { decide: decideNext } of others) if (verdict.allowed) verdict = decideNext(facts, observer);
  return { verdict, shadow, ...(audit === undefined ? {} : { audit }) };
}

/** Those that are asked in turn; at least one. */
function authorizersOf({ authorization, rbac = [] }: InboundPolicy, paths: 'views' | 'literal'): readonly Authorizer[] {
  const { authorizer } = compiled(authorization, paths);
  if (rbac.length === 0) return [authorizer];
  let ofRbac = compiledRbac[paths].get(rbac);
  if (ofRbac === undefined) {
    ofRbac = compileRbac(rbacAbout(rbac, 'requests'), { paths });
    compiledRbac[paths].set(rbac, ofRbac);
  }
  return authorization.length === 0 ? [ofRbac] : [authorizer, ofRbac];
}

const compiledRbac = {
  views: new WeakMap<readonly RbacFilter[], Authorizer>(),
  literal: new WeakMap<readonly RbacFilter[], Authorizer>(),
};

const compiledPolicies = {
  views: new WeakMap<readonly AuthorizationPolicy[], CompiledPolicies>(),
  literal: new WeakMap<readonly AuthorizationPolicy[], CompiledPolicies>(),
};

function compiled(policies: readonly AuthorizationPolicy[], paths: 'views' | 'literal'): CompiledPolicies {
  const known = compiledPolicies[paths];
  let result = known.get(policies);
  if (result === undefined) {
    result = {
      authorizer: compileAuthorizer(policies, { paths }),
      custom: (authorizers) =>
        compileCustom(policies, (name) => authorizers.some((each) => each.name === name), { paths }),
    };
    known.set(policies, result);
  }
  return result;
}
