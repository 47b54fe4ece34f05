import { type CorsDecider, compileCors } from './cors/decide.ts';
import { MeshError } from './errors.ts';
import type { HeaderList } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import type { Route } from './model/route.ts';
import type { ClientCall, Reply } from './pipeline/client-call.ts';
import type { Service } from './pipeline/filter.ts';
import type { LocalAnswer } from './pipeline/local-answer.ts';
import type { Scope } from './pipeline/scope.ts';
import { clusterOf, refusedHost, tableOf } from './reach.ts';
import type { HostTable, HostTarget } from './route/host-table.ts';
import { readsRequests, whyNoRequest } from './route/own-tls.ts';
import { createRoutePlan, type DestinationPlan, type RoutePlan } from './route/plan.ts';
import type { RoutableRequest } from './route/request-view.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';
import { canonicalTarget } from './sanitize/outbound-target.ts';

/** What the mesh knows about a destination. */
export interface Known {
  readonly route: Route;
  readonly state: ClusterState;
  readonly destination: Destination;
  /** As conditions see it: in canonical form. */
  readonly asked: string;
  /** After rewriting. */
  readonly path: string;
  /** For requests without a Host header of their own. */
  readonly hostHeader: string;
  /** Under which name of its virtual host the request is counted; nothing: it is not. */
  readonly counted: { readonly virtualHost: string; readonly statPrefix: string } | undefined;
}

/** Where a request goes. */
export type Selection =
  /**
   * To the address that the caller named: the host is unknown to the mesh, or is known with its
   * policy but reached at its own address (`resolution: NONE`).
   */
  | { readonly kind: 'outside'; readonly cluster: string; readonly known: Known | undefined }
  | ({ readonly kind: 'inside' } & Known)
  /** Nowhere: its route answers itself, with a redirect or a direct response. */
  | { readonly kind: 'answer'; readonly route: Route; readonly answer: LocalAnswer };

const outsideOfMesh: Selection = { kind: 'outside', cluster: 'PassthroughCluster', known: undefined };

/**
 * Decides where a request goes.
 *
 * @throws MeshError when it may go nowhere.
 */
export type Selector = (
  origin: string,
  method: string,
  path: string,
  headers: HeaderList,
  scope: Scope | undefined,
) => Selection;

/** Host, then route, then destination: the decisions that every kind of outbound call shares. */
export function createSelector(options: {
  readonly random: Random;
  readonly clusters: Clusters;
  hosts(): HostTable | undefined;
}): Selector {
  const { clusters, random } = options;
  const plans = new WeakMap<Route, RoutePlan<Destination>>();

  const planOf = (route: Route): RoutePlan<Destination> => {
    let plan = plans.get(route);
    if (plan === undefined) {
      const cors = route.cors === undefined ? undefined : compileCors(route.cors);
      plan = createRoutePlan(route, random, (destination) => new Destination(destination, cors));
      plans.set(route, plan);
    }
    return plan;
  };

  return (origin, method, path, headers, scope) => {
    const target = tableOf(options.hosts()).find(origin);
    if (target.kind === 'passthrough') return outsideOfMesh;
    if (target.kind === 'refused') throw refusedHost(origin);
    const { hostHeader, matcher, normalization, tlsHost } = target;
    const canonical = method === 'CONNECT' ? path : canonicalTarget(path, normalization);
    if (canonical === undefined) throw new MeshError('ERR_MESH_BAD_REQUEST', 'the path has an encoded NUL');
    const choice = matcher.always ?? matcher.find(viewFor(target, method, canonical, headers, scope));
    if (choice === undefined) {
      throw new MeshError('ERR_MESH_NO_ROUTE', `no route of ${target.name} matches ${canonical}`);
    }
    const { route } = choice;
    const plan = planOf(route);
    if (plan.answer !== undefined) {
      return {
        kind: 'answer',
        route,
        answer: plan.answer(viewFor(target, method, canonical, headers, scope), choice.match, target.port),
      };
    }
    const destination =
      plan.choose === undefined ? plan.chooseFor(viewFor(target, method, canonical, headers, scope)) : plan.choose();
    const { cluster, rewritePath } = destination.plan;
    const state = clusterOf(clusters, route.name, cluster, tlsHost);
    const refusal = whyNoRequest(state.cluster, tlsHost !== undefined);
    if (refusal !== undefined) {
      throw new MeshError('ERR_MESH_UNSUPPORTED', `${origin}: ${refusal}`, { route: route.name, cluster });
    }
    // What is no HTTP for the mesh is not read, and nothing about it changes.
    const reads = readsRequests(state.cluster);
    if (reads && !isPath(canonical) && method !== 'CONNECT') {
      throw new MeshError('ERR_MESH_BAD_REQUEST', 'the target of a call to a service is a path, and names no host');
    }
    const asked = reads ? canonical : path;
    const inside: Selection = {
      kind: 'inside',
      route,
      state,
      destination,
      asked,
      // The target of CONNECT is a host and a port, and no path.
      path: rewritePath === undefined || method === 'CONNECT' ? asked : rewritePath(asked, choice.match),
      hostHeader,
      counted: choice.match?.statPrefix === undefined ? undefined : countedBy(target.name, choice.match.statPrefix),
    };
    return state.cluster.discovery.kind === 'original' ? { kind: 'outside', cluster, known: inside } : inside;
  };
}

function countedBy(virtualHost: string, statPrefix: string): Known['counted'] {
  return { virtualHost, statPrefix };
}

/** Or `*`. Whoever gets another target may take it for another host (RFC 9112 section 3.2.2). */
function isPath(target: string): boolean {
  const first = target.charCodeAt(0);
  return first === 0x2f || (first === 0x2a && target.length === 1);
}

/** Made only for those who look at it: most hosts have one route for every request. */
function viewFor(
  { hostHeader, tlsHost }: Extract<HostTarget, { kind: 'host' }>,
  method: string,
  path: string,
  headers: HeaderList,
  scope: Scope | undefined,
): RoutableRequest {
  return { method, path, headers, secure: tlsHost !== undefined, hostHeader, scope };
}

type Composer = (destination: Destination, state: ClusterState) => Service<ClientCall, Reply>;

/** The chain of one state of a cluster, as it was when its policy changed last. */
interface Composed {
  readonly state: ClusterState;
  readonly revision: number;
  readonly service: Service<ClientCall, Reply>;
}

/** One destination of one route with its chains, made on first use and again when the cluster changed. */
export class Destination {
  readonly plan: DestinationPlan;
  readonly cors: CorsDecider | undefined;
  #last: Composed | undefined;
  /** Calls of one route may have several: one for each host to which the application itself speaks TLS. */
  readonly #all: WeakMap<ClusterState, Composed>;

  constructor(plan: DestinationPlan, cors: CorsDecider | undefined) {
    this.plan = plan;
    this.cors = cors;
    this.#last = undefined;
    this.#all = new WeakMap();
  }

  service(state: ClusterState, compose: Composer): Service<ClientCall, Reply> {
    const last = this.#last;
    if (last !== undefined && last.state === state && last.revision === state.revision) return last.service;
    let found = this.#all.get(state);
    if (found === undefined || found.revision !== state.revision) {
      found = { state, revision: state.revision, service: compose(this, state) };
      this.#all.set(state, found);
    }
    this.#last = found;
    return found.service;
  }
}
