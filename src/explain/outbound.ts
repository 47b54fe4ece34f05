import type { Egress } from '../authz/egress-calls.ts';
import { compileCors } from '../cors/decide.ts';
import { MeshError } from '../errors.ts';
import { headerValue } from '../lib/header-list.ts';
import type { Cluster } from '../model/cluster.ts';
import type { Route } from '../model/route.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatContext } from '../route/format-context.ts';
import { changesOf, compileEdits } from '../route/header-edits.ts';
import type { HostTable, HostTarget } from '../route/host-table.ts';
import { readsRequests, whyNoRequest } from '../route/own-tls.ts';
import { createRoutePlan, type DestinationPlan } from '../route/plan.ts';
import { authorityOf, type RoutableRequest } from '../route/request-view.ts';
import { canonicalTarget } from '../sanitize/outbound-target.ts';
import { explainConnection } from './connection.ts';
import { explainDestinations } from './destinations.ts';
import { combineChanges } from './edits.ts';
import { ruleName, rulesBefore, virtualHostOf } from './passed-over.ts';
import { explainPlaces, explainTunnel } from './places.ts';
import { explainFault, explainHash, explainMirrors, explainRetries, explainTls } from './policies.ts';
import { type ExplainRequest, type OutboundQuestion, questionOf } from './request.ts';
import { explainResilience } from './resilience.ts';
import type { ExplainedEdits, OutboundExplanation } from './result.ts';

/** What outbound explanations are made of. */
export interface OutboundContext {
  readonly snapshot: Snapshot;
  readonly hosts: HostTable;
  /** What the process may call. Absent: everything. */
  readonly egress?: Egress | undefined;
  /** The process has no identity of its own. Default false. */
  readonly withoutIdentity?: boolean;
}

type Parts = Omit<OutboundExplanation, 'direction' | 'passedOver' | 'notes'> &
  Partial<Pick<OutboundExplanation, 'passedOver' | 'notes'>>;

/** Runs the decisions of the client side for one request, without sending anything. */
export function explainOutbound(context: OutboundContext, request: ExplainRequest): OutboundExplanation {
  const { decision, passedOver = [], notes = [], ...parts } = decide(context, request);
  return { decision, direction: 'outbound', ...parts, passedOver, notes };
}

function decide(context: OutboundContext, request: ExplainRequest): Parts {
  const { snapshot, hosts } = context;
  const question = questionOf(request);
  if (typeof question === 'string') return { decision: 'refused', reason: question };
  const denial = egressDenial(context, question);
  if (denial !== undefined) return { decision: 'refused', reason: denial };
  if (question.protocol === 'tcp') {
    const said = explainConnection(context, question);
    return typeof said === 'string' ? unknownHost(said, question, snapshot) : said;
  }
  const origin = `${question.ownTls ? 'https' : 'http'}://${question.host}:${question.port}`;
  let target: HostTarget;
  try {
    target = hosts.find(origin);
  } catch (error) {
    if (error instanceof MeshError) return { decision: 'refused', reason: error.message };
    throw error;
  }
  if (target.kind !== 'host') return unknownHost(target.kind, question, snapshot);
  const canonical =
    question.method === 'CONNECT' ? question.path : canonicalTarget(question.path, target.normalization);
  if (canonical === undefined) return { decision: 'refused', reason: 'the path has an encoded NUL: 400' };
  const asked = { ...question, path: canonical };
  const view = viewOf(asked);
  const choice = target.matcher.always ?? target.matcher.find(view);
  const passedOver = rulesBefore(virtualHostOf(snapshot, target.name), choice?.route, view);
  if (choice === undefined) {
    return { decision: 'no-route', reason: `no rule of ${target.name} matches: 404`, passedOver };
  }
  const { route, match } = choice;
  const plan = createRoutePlan(
    route,
    () => question.random,
    (destination) => destination,
  );
  if (plan.answer !== undefined) {
    return { ...answered(route, plan.answer(view, match, target.port), view), passedOver };
  }
  const destination = plan.choose === undefined ? plan.chooseFor(view) : plan.choose();
  const cluster = snapshot.clusters.get(destination.cluster);
  const isOpaque = cluster !== undefined && !readsRequests(cluster);
  return { ...routed(destination, match, isOpaque ? question : asked, view, context), passedOver };
}

/** What EgressPolicies say against it; nothing when they let it go. */
function egressDenial({ egress }: OutboundContext, question: OutboundQuestion): string | undefined {
  const { headers, host, method, ownTls, path, port, protocol, sni } = question;
  try {
    if (protocol === 'tcp') egress?.connection(host.replace(/^\[(.*)\]$/, '$1'), port, sni);
    else egress?.request(`${ownTls ? 'https' : 'http'}://${host}:${port}`, method, path, headers);
    return undefined;
  } catch (error) {
    if (error instanceof MeshError && error.code === 'ERR_MESH_EGRESS_DENIED') return `${error.message}: 403`;
    throw error;
  }
}

function unknownHost(
  kind: 'passthrough' | 'refused',
  { authority, host, path, port }: OutboundQuestion,
  snapshot: Snapshot,
): Parts {
  const like = namesLike(snapshot, host);
  const notes = like.length === 0 ? [] : [`names like it that are known here: ${like.join(', ')}`];
  const nobody = `no configuration names ${host}:${port}, and hosts outside of the mesh are`;
  if (kind === 'refused') {
    return { decision: 'refused', cluster: 'BlackHoleCluster', reason: `${nobody} refused (REGISTRY_ONLY)`, notes };
  }
  const reason = `${nobody} called directly (ALLOW_ANY)`;
  return { decision: 'passthrough', cluster: 'PassthroughCluster', authority, path, reason, notes };
}

/** At most so many are named. */
const maxNames = 5;

/** The same host on other ports; else, of a short name, the services of other namespaces. */
function namesLike({ hosts }: Snapshot, host: string): readonly string[] {
  const ports: string[] = [];
  const namespaces: string[] = [];
  for (const key of hosts.keys()) {
    const name = key.slice(0, key.lastIndexOf(':'));
    const [first, , more] = name.split('.', 3);
    if (name === host) ports.push(key);
    else if (first === host && more === undefined) namespaces.push(key);
  }
  return (ports.length > 0 ? ports : namespaces).slice(0, maxNames);
}

const throughProxy = 'no configuration names this host: it is called through the proxy of the Sidecar (egressProxy)';

/** The request as route conditions see it. */
function viewOf(question: OutboundQuestion): RoutableRequest {
  const { authority, headers, method, path, scheme, claims, caller } = question;
  return {
    method,
    path,
    headers,
    secure: scheme === 'https',
    hostHeader: authority,
    scope: {
      requestId: '',
      traceHeaders: [],
      claims,
      ...(caller === undefined ? {} : { peer: { spiffeId: caller, trustDomain: caller.split('/')[2] ?? '' } }),
    },
  };
}

function answered(route: Route, answer: ReturnType<Answer>, view: RoutableRequest): Parts {
  const { status, headers, body } = answer;
  const edits = compileEdits(route.headers, undefined, true).response;
  const responseHeaders = combineChanges(
    edits.map((edit) => changesOf(edit, () => formatContext(view, route.name, 0, status, headers))),
  );
  const common = { ...ruleOf(route), responseHeaders };
  if (route.redirect !== undefined) {
    const location = String(headers['location'] ?? '');
    return { decision: 'redirect', ...common, redirect: { status, location }, reason: 'the rule redirects' };
  }
  const text = body === undefined ? '' : Buffer.from(body).toString('utf8');
  return { decision: 'direct', ...common, direct: { status, body: text }, reason: 'the rule answers itself' };
}

type Plan = ReturnType<typeof createRoutePlan<DestinationPlan>>;
type Answer = NonNullable<Plan['answer']>;

function routed(
  plan: DestinationPlan,
  match: Parameters<Answer>[1],
  question: OutboundQuestion,
  view: RoutableRequest,
  { snapshot, withoutIdentity }: OutboundContext,
): Parts {
  const { route } = plan;
  const { path, random } = question;
  const cluster = snapshot.clusters.get(plan.cluster);
  const notes: string[] = [];
  const fault = explainFault(route.fault, random);
  const cors = route.cors && compileCors(route.cors)(view.method, (name) => headerValue(view.headers, name));
  if (cors?.kind === 'preflight') {
    const { 'content-length': _, ...set } = cors.answer.headers as Record<string, string>;
    const responseHeaders = { set, add: {}, remove: [] };
    const reason = 'a CORS preflight, answered by corsPolicy of the rule';
    return { decision: 'direct', ...ruleOf(route), direct: { status: 200, body: '' }, responseHeaders, reason };
  }
  const refusal = cluster === undefined ? undefined : whyNoRequest(cluster, question.ownTls);
  if (cluster === undefined) notes.push(`${plan.cluster} does not exist: 503`);
  if (refusal !== undefined) notes.push(refusal);
  if (cluster?.discovery.kind === 'original') notes.push('the address that the caller named is called');
  const places = cluster && explainPlaces(cluster);
  if (places !== undefined) notes.push(places);
  const tunnel = cluster && (question.ownTls || !readsRequests(cluster)) ? explainTunnel(cluster) : undefined;
  if (tunnel !== undefined) notes.push(tunnel);
  if (plan.cluster === snapshot.egressProxy && route.name === 'allow_any') notes.push(throughProxy);
  const tls = cluster === undefined ? undefined : tlsOf(cluster, question, notes, withoutIdentity);
  const hash = explainHash(cluster?.hash?.key);
  const changes = (edits: DestinationPlan['edits']['request'], status?: number): ExplainedEdits =>
    combineChanges(edits.map((edit) => changesOf(edit, () => formatContext(view, route.name, 0, status))));
  const resilience = cluster && explainResilience(cluster, route);
  const mirrors = explainMirrors(route.mirrors ?? [], random);
  return {
    decision: refusal === undefined ? 'route' : 'refused',
    ...ruleOf(route),
    cluster: plan.cluster,
    destinations: explainDestinations(route.destinations),
    authority: plan.authority ?? authorityOf(view),
    path: plan.rewritePath === undefined || view.method === 'CONNECT' ? path : plan.rewritePath(path, match),
    requestHeaders: changes(plan.edits.request),
    responseHeaders: changes(plan.edits.response, 200),
    ...(cors?.kind === 'allow' ? { cors: combineChanges([cors.response]).set } : {}),
    timeoutMs: route.timeoutMs ?? 0,
    retries: explainRetries(route.retry),
    ...(resilience === undefined ? {} : { resilience }),
    ...(fault === undefined ? {} : { fault }),
    mirrors,
    ...(hash === undefined ? {} : { hash }),
    ...(tls === undefined ? {} : { tls }),
    reason: route.matches.length === 0 ? 'the rule matches every request' : 'all conditions of the rule hold',
    notes,
  };
}

function tlsOf(
  cluster: Cluster,
  question: OutboundQuestion,
  notes: string[],
  withoutIdentity: boolean | undefined,
): OutboundExplanation['tls'] {
  if (question.ownTls) {
    notes.push('the application encrypts by itself; the mesh adds nothing');
    return { mode: 'DISABLE' };
  }
  const { tls, note } = explainTls(cluster, question, withoutIdentity);
  if (note !== undefined) notes.push(note);
  return tls;
}

function ruleOf({ provenance, name }: Route): Pick<OutboundExplanation, 'rule' | 'at' | 'name'> {
  return provenance === undefined ? {} : { rule: ruleName(provenance), at: provenance, name };
}
