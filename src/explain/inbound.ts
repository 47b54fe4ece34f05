import { type Authorize, compileAuthorization, findDecidingRule } from '../authz/decide.ts';
import type { AuthorizationFacts } from '../authz/rule.ts';
import { remoteAddressOf } from '../lib/forwarded-for.ts';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import type { Workload } from '../model/workload.ts';
import { mtlsModeOf } from '../mtls/mode.ts';
import { hostProblem } from '../sanitize/host-header.ts';
import { hasBrokenEscape, normalizePath } from '../sanitize/normalize-path.ts';
import { parseTarget } from '../sanitize/target.ts';
import { explainRateLimits } from './rate-limits.ts';
import { type ExplainCaller, type ExplainRequest, type ExplainTls, withoutUrl } from './request.ts';
import type { InboundExplanation } from './result.ts';

/** What inbound explanations are made of. */
export interface InboundContext {
  readonly snapshot: Snapshot;
  readonly workload: Workload;
  /** How policies read paths; see `AuthorizationOptions`. Default `views`, as requests are decided. */
  readonly paths?: 'views' | 'literal';
}

type Parts = Omit<InboundExplanation, 'direction' | 'notes'> & Partial<Pick<InboundExplanation, 'notes'>>;

/** Runs the decisions of the server side for one request, without a server. */
export function explainInbound(context: InboundContext, request: ExplainRequest): InboundExplanation {
  const { decision, notes = [], ...parts } = decide(context, request);
  return { decision, direction: 'inbound', ...parts, notes };
}

function reject(status: number | undefined, reason: string): Parts {
  return { decision: 'reject', ...(status === undefined ? {} : { status }), reason };
}

function decide(context: InboundContext, given: ExplainRequest): Parts {
  const request = withoutUrl(given);
  if (typeof request === 'string') return reject(400, request);
  const { snapshot, workload } = context;
  const { method = 'GET', from = {}, to = {} } = request;
  const localPort = to.port ?? request.port ?? 80;
  const identity = identityOf(from, workload.trustDomain);
  if (typeof identity === 'string') return reject(undefined, identity);
  const tls = request.tls ?? (identity === undefined ? 'plaintext' : 'mtls');
  const refusal = connectionRefusal(context, localPort, tls);
  if (refusal !== undefined) return refusal;
  const peer = tls === 'mtls' ? identity : undefined;
  const unknown = tls === 'mtls' && peer === undefined;
  const notes: string[] = unknown ? ['the caller is not named, so no condition on its identity holds'] : [];

  if (method === 'TRACE') return reject(405, 'TRACE would show headers to the caller');
  const target = parseTarget(request.path ?? '/', method);
  if (typeof target === 'string') return reject(400, target);
  if (hasBrokenEscape(target.path)) {
    return reject(400, 'a % in the path is not followed by two hexadecimal digits');
  }
  const path = normalizePath(target.path, snapshot.inbound.pathNormalization);
  if (path === undefined) return reject(400, 'the path contains an encoded NUL');
  const host = target.authority || (request.authority ?? to.host ?? '');
  const problem = host === '' ? undefined : hostProblem(host);
  if (problem !== undefined) return reject(400, problem);

  const facts = {
    peer,
    method,
    path,
    rawPath: target.path,
    host,
    localPort,
    claims: request.claims,
    ...connectionFacts(request, snapshot.inbound.numTrustedProxies ?? 0),
  };
  const { authorize, deciding } = compiled(snapshot.inbound.authorization, context.paths ?? 'views');
  const denial = authorize(facts);
  if (denial === undefined && context.paths === 'literal') {
    const stricter = compiled(snapshot.inbound.authorization, 'views').authorize(facts);
    if (stricter !== undefined) notes.push('refused in traffic: a router could read this path in another way');
  }
  const by = deciding(facts);
  const policy =
    by === undefined ? {} : { policy: `${by.policy.namespace}/${by.policy.name}`, rule: by.rule, at: by.policy };
  if (denial !== undefined) {
    const reason =
      denial.reason === 'denied'
        ? 'a rule of a DENY policy matches'
        : 'there are ALLOW policies for this workload, and no rule of any of them matches';
    return { decision: 'deny', status: 403, ...policy, path, reason, notes };
  }
  const reason =
    by === undefined
      ? 'no ALLOW policy is for this workload, and no DENY policy matches'
      : 'a rule of an ALLOW policy matches';
  const limits = explainRateLimits(snapshot.inbound, facts);
  const rateLimits = limits.length === 0 ? {} : { rateLimits: limits };
  return { decision: 'allow', status: 200, ...policy, ...rateLimits, path, reason, notes };
}

/** What is known of the connection, and the headers. */
function connectionFacts(
  { from = {}, headers = [], sni = '', to = {} }: ExplainRequest,
  trusted: number,
): Pick<AuthorizationFacts, 'sourceAddress' | 'remoteAddress' | 'destinationAddress' | 'sni' | 'rawHeaders'> {
  const rawHeaders: readonly string[] = (Array.isArray(headers) ? headers : Object.entries(headers)).flat();
  const { ip: sourceAddress } = from;
  return {
    sourceAddress,
    remoteAddress: remoteAddressOf(sourceAddress, rawHeaders, trusted),
    destinationAddress: to.ip,
    sni,
    rawHeaders,
  };
}

/** A connection that is turned away before it could carry a request. */
function connectionRefusal({ snapshot }: InboundContext, port: number, tls: ExplainTls): Parts | undefined {
  const { mtls } = snapshot.inbound;
  const mode = mtlsModeOf(mtls, port);
  const by = mtls.provenance;
  const policy = by === undefined ? {} : { policy: `${by.namespace}/${by.name}`, at: by };
  if (mode === 'STRICT' && tls !== 'mtls') {
    const without = tls === 'tls' ? 'TLS without a client certificate' : 'plaintext';
    return {
      ...reject(undefined, `port ${port} accepts mTLS only (PeerAuthentication STRICT), and this is ${without}`),
      ...policy,
    };
  }
  if (mode === 'DISABLE' && tls !== 'plaintext') {
    return { ...reject(undefined, `port ${port} accepts plaintext only (PeerAuthentication DISABLE)`), ...policy };
  }
  if (tls === 'tls') {
    const why = 'PERMISSIVE takes plaintext or mTLS, and this is TLS without a client certificate';
    return { ...reject(undefined, `port ${port}: ${why}`), ...policy };
  }
  return undefined;
}

const scheme = 'spiffe://';

/** Who the caller is by its certificate; a text when that is no identity. */
function identityOf(from: ExplainCaller, trustDomain: string): AuthorizationFacts['peer'] | string {
  const { principal, namespace, serviceAccount = 'default' } = from;
  if (principal === undefined && namespace === undefined) return undefined;
  const uri =
    principal === undefined
      ? `${scheme}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
      : principal.startsWith(scheme)
        ? principal
        : scheme + principal;
  try {
    const { uri: spiffeId, trustDomain: domain, namespace: ns, serviceAccount: account } = parseSpiffeId(uri);
    return {
      spiffeId,
      trustDomain: domain,
      ...(ns === undefined || account === undefined ? {} : { namespace: ns, serviceAccount: account }),
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

interface CompiledPolicies {
  readonly authorize: Authorize;
  readonly deciding: ReturnType<typeof findDecidingRule>;
}

const compiledPolicies = {
  views: new WeakMap<readonly AuthorizationPolicy[], CompiledPolicies>(),
  literal: new WeakMap<readonly AuthorizationPolicy[], CompiledPolicies>(),
};

function compiled(policies: readonly AuthorizationPolicy[], paths: 'views' | 'literal'): CompiledPolicies {
  const known = compiledPolicies[paths];
  let result = known.get(policies);
  if (result === undefined) {
    result = { authorize: compileAuthorization(policies, { paths }), deciding: findDecidingRule(policies, { paths }) };
    known.set(policies, result);
  }
  return result;
}
