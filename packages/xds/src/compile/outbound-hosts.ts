import type { EnforcementEntry } from 'inmesh/config';
import type {
  ConnectionRoute,
  HashKey,
  OutboundPolicy,
  Route,
  Snapshot,
  VirtualHost,
  WildcardHost,
} from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import { kindOf, type ResourceSet } from '../resources.ts';
import { identityOf } from './cluster.ts';
import type { CompileContext } from './compile.ts';
import { readListener } from './listener.ts';
import type { HttpReference, OutboundListener, TcpChain } from './outbound-listener.ts';
import { bestDomain, domainOf, shortNames } from './outbound-names.ts';
import { entriesOf } from './outbound-remarks.ts';
import { type ReadHost, type ReadRoutes, readRouteFor } from './route.ts';

/** What can be called, and what leads there. */
export interface OutboundHosts extends Pick<Snapshot, 'hosts' | 'wildcardHosts' | 'outboundPolicy'> {
  /** Clusters to which requests go. */
  readonly httpClusters: ReadonlySet<string>;
  /** What of requests to a cluster is hashed. */
  readonly hashKeys: ReadonlyMap<string, readonly HashKey[]>;
  /** Names of route configurations that listeners ask for. */
  readonly routes: ReadonlySet<string>;
  readonly entries: readonly EnforcementEntry[];
}

interface Inputs {
  readonly listeners: readonly Any[];
  readonly routes: readonly Any[];
  readonly result: OutboundHosts;
}

const last = new WeakMap<CompileContext, Inputs>();

/** The hosts of a set of resources; the same object while its listeners and routes are. */
export function outboundHosts(set: ResourceSet, context: CompileContext): OutboundHosts {
  const listeners = [...set.listeners.values()];
  const routes = [...set.routes.values()];
  const known = last.get(context);
  if (known !== undefined && isSame(known.listeners, listeners) && isSame(known.routes, routes)) return known.result;
  const result = build(set, context);
  last.set(context, { listeners, routes, result });
  return result;
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

/** Names that mean "as the caller has it" and "nowhere" in what istiod sends. */
const passthroughCluster = 'PassthroughCluster';
const blackHoleCluster = 'BlackHoleCluster';

/** Istio's routes for those who use it as a proxy: everything, on any port. */
const httpProxyRoutes = 'http_proxy';

interface Building {
  readonly context: CompileContext;
  readonly hosts: Map<string, VirtualHost>;
  readonly wildcards: WildcardHost[];
  readonly httpClusters: Set<string>;
  readonly hashKeys: Map<string, readonly HashKey[]>;
  readonly routes: Set<string>;
  readonly entries: EnforcementEntry[];
  readonly policies: Set<OutboundPolicy>;
}

function build(set: ResourceSet, context: CompileContext): OutboundHosts {
  const building: Building = {
    context,
    hosts: new Map(),
    wildcards: [],
    httpClusters: new Set(),
    hashKeys: new Map(),
    routes: new Set(),
    entries: [],
    policies: new Set(),
  };
  const listeners = listenersOf(set, building);
  const used = new Set<string>();
  const resolve = (reference: HttpReference): ReadRoutes | undefined => {
    if (reference.kind === 'inline') return reference.routes(context.profile);
    building.routes.add(reference.name);
    const any = set.routes.get(reference.name);
    if (any === undefined) return undefined;
    const { ignored, value } = readRouteFor(context.profile)(any);
    if (!used.has(reference.name)) {
      used.add(reference.name);
      building.entries.push(...entriesOf('routes', reference.name, { ignored, remarks: value.remarks }));
    }
    return value;
  };
  if (context.profile === 'grpc') addServices(listeners, resolve, building);
  else addPorts(listeners, resolve, building);
  building.wildcards.sort(
    (a, b) => b.suffix.length - a.suffix.length || a.port - b.port || (a.suffix < b.suffix ? -1 : 1),
  );
  return {
    hosts: building.hosts,
    wildcardHosts: building.wildcards,
    // What is refused anywhere is refused.
    outboundPolicy: building.policies.has('REGISTRY_ONLY') ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
    httpClusters: building.httpClusters,
    hashKeys: building.hashKeys,
    routes: building.routes,
    entries: building.entries,
  };
}

function listenersOf(set: ResourceSet, { context, entries }: Building): ReadonlyMap<string, OutboundListener> {
  const listeners = new Map<string, OutboundListener>();
  for (const [name, any] of set.listeners) {
    if (context.profile === 'grpc' && !context.services.includes(name)) continue;
    const { ignored, value } = readListener(any);
    if (value.outbound === undefined) continue;
    listeners.set(name, value.outbound);
    entries.push(...entriesOf('listeners', name, { ignored, remarks: value.outbound.remarks }));
  }
  return listeners;
}

type Resolve = (reference: HttpReference) => ReadRoutes | undefined;

/** gRPC: a listener is named like what is called, and its virtual host is the one for that name. */
function addServices(listeners: ReadonlyMap<string, OutboundListener>, resolve: Resolve, building: Building): void {
  for (const service of building.context.services) {
    const [reference] = listeners.get(service)?.http ?? [];
    const routes = reference === undefined ? undefined : resolve(reference);
    const name = service.toLowerCase();
    const candidates = (routes?.hosts ?? []).map((value) => ({ domains: value.domains, value }));
    const host = bestDomain(candidates, name) ?? bestDomain(candidates, domainOf(name).host);
    building.hosts.set(name, host === undefined ? unavailable(name) : virtualHostOf(host, name, building));
  }
}

/** Istio: a listener for each port, and virtual hosts for the authorities of requests. */
function addPorts(listeners: ReadonlyMap<string, OutboundListener>, resolve: Resolve, building: Building): void {
  for (const listener of listeners.values()) {
    if (listener.others !== undefined) {
      building.policies.add(listener.others === blackHoleCluster ? 'REGISTRY_ONLY' : 'ALLOW_ANY');
    }
    for (const reference of listener.http) {
      if (reference.kind === 'rds' && reference.name === httpProxyRoutes) continue;
      const routes = resolve(reference);
      if (listener.port === 0) continue;
      if (routes !== undefined) addRoutes(routes, listener.port, building);
      else if (reference.kind === 'rds') addUnavailable(reference.name, listener.port, building);
    }
  }
  // Requests are read where they can be: connections have their names after them.
  addConnections([...listeners.values()], building);
}

/** Routes that are refused, or do not come: calls that they are for fail, and do not go past the mesh. */
function addUnavailable(routes: string, port: number, building: Building): void {
  const { host } = domainOf(routes);
  // A configuration for all of a port has the port as its name, one for a service is `host:port`.
  if (routes === host) building.wildcards.push({ suffix: '', port, virtualHost: unavailable(`*:${port}`) });
  else building.hosts.set(`${host}:${port}`, unavailable(`${host}:${port}`));
}

/** What the control plane knows nothing of, or what is refused of it: 503. */
function unavailable(name: string): VirtualHost {
  return { name, routes: [{ name: 'unavailable', matches: [], destinations: [], direct: { status: 503 } }] };
}

function addRoutes({ hosts, name }: ReadRoutes, port: number, building: Building): void {
  for (const host of hosts) {
    for (const domain of host.domains) {
      if (domain === '*') {
        const policy = catchAllPolicy(host);
        if (policy !== undefined) {
          building.policies.add(policy);
          continue;
        }
      }
      const { host: plain, port: own = port } = domainOf(domain);
      // The port of the authority is that of the connection.
      if (own !== port) continue;
      if (plain.endsWith('*') && plain !== '*') {
        building.entries.push({
          at: { kind: kindOf('routes'), namespace: '', name },
          field: 'virtual_hosts[].domains',
          status: 'ignored',
          note: `${domain}: names with * at their end are not served`,
          warning: true,
        });
        continue;
      }
      const virtualHost = virtualHostOf(host, host.name, building);
      if (plain.startsWith('*')) building.wildcards.push({ suffix: plain.slice(1), port, virtualHost });
      else if (!building.hosts.has(`${plain}:${port}`)) building.hosts.set(`${plain}:${port}`, virtualHost);
    }
  }
}

/** What istiod says of all other hosts; nothing where it is a virtual host like others. */
function catchAllPolicy({ name, routes }: ReadHost): OutboundPolicy | undefined {
  const [only] = routes;
  if (only === undefined || routes.length > 1 || only.route.matches.length > 0) return undefined;
  const { destinations, direct } = only.route;
  if (name === 'block_all' && direct !== undefined) return 'REGISTRY_ONLY';
  const clusters = destinations.map(({ cluster }) => cluster);
  if (clusters.length !== 1) return undefined;
  return clusters[0] === passthroughCluster
    ? 'ALLOW_ANY'
    : clusters[0] === blackHoleCluster
      ? 'REGISTRY_ONLY'
      : undefined;
}

const virtualHosts = new WeakMap<ReadHost, Map<string, VirtualHost>>();

function virtualHostOf(host: ReadHost, name: string, building: Building): VirtualHost {
  let byName = virtualHosts.get(host);
  if (byName === undefined) virtualHosts.set(host, (byName = new Map()));
  let made = byName.get(name);
  if (made === undefined) byName.set(name, (made = { name, routes: host.routes.map(({ route }) => route) }));
  for (const { hashKeys, route } of host.routes) {
    for (const { cluster } of route.destinations) {
      building.httpClusters.add(cluster);
      // Routes to one cluster have the same: istiod makes them of the policy of that cluster.
      if (hashKeys.length > 0 && !building.hashKeys.has(cluster)) building.hashKeys.set(cluster, hashKeys);
    }
    for (const { cluster } of route.mirrors ?? []) building.httpClusters.add(cluster);
  }
  return made;
}

/** Connections of one host and port, as they were found. */
interface Chains {
  readonly host: string;
  readonly port: number;
  readonly found: { readonly chain: TcpChain; readonly listener: string }[];
  /** Further names. */
  readonly aliases: Set<string>;
}

function addConnections(listeners: readonly OutboundListener[], building: Building): void {
  const all = new Map<string, Chains>();
  const add = (host: string, port: number, chain: TcpChain, listener: OutboundListener, aliases: readonly string[]) => {
    const key = `${host}:${port}`;
    let chains = all.get(key);
    if (chains === undefined) all.set(key, (chains = { host, port, found: [], aliases: new Set() }));
    chains.found.push({ chain, listener: listener.name });
    for (const alias of aliases) chains.aliases.add(alias);
  };
  for (const listener of listeners) {
    for (const chain of listener.connections) {
      const port = chain.port ?? listener.port;
      const [first] = chain.destinations;
      if (first === undefined || port === 0) continue;
      const isSpecial = first.cluster === passthroughCluster || first.cluster === blackHoleCluster;
      if (isSpecial && chain.serverNames.length === 0) continue;
      if (chain.serverNames.length > 0) {
        for (const name of chain.serverNames) {
          add(name, port, chain, listener, name.startsWith('*') ? [] : shortNames(name, building.context.workload));
        }
        continue;
      }
      const { host } = identityOf(first.cluster);
      const address = listener.address === '' ? [] : [domainOf(listener.address).host];
      add(host, port, chain, listener, [...shortNames(host, building.context.workload), ...address]);
    }
  }
  for (const { aliases, found, host, port } of all.values()) {
    const { hosts, wildcards } = building;
    if (hosts.has(`${host}:${port}`)) continue;
    const virtualHost = opaqueHost(host, port, found);
    if (host.startsWith('*')) wildcards.push({ suffix: host.slice(1), port, virtualHost });
    else hosts.set(`${host}:${port}`, virtualHost);
    for (const alias of aliases) if (!hosts.has(`${alias}:${port}`)) hosts.set(`${alias}:${port}`, virtualHost);
  }
}

/** A host whose connections the mesh does not read. */
function opaqueHost(host: string, port: number, found: Chains['found']): VirtualHost {
  const name = `${host}:${port}`;
  const connections = found.map(
    ({ chain, listener }): ConnectionRoute => ({
      name: chain.name,
      ...(chain.serverNames.length === 0 ? {} : { sniHosts: chain.serverNames }),
      ...(chain.subnets.length === 0 ? {} : { destinationSubnets: chain.subnets }),
      destinations: chain.destinations,
      provenance: { kind: kindOf('listeners'), namespace: '', name: listener, field: chain.field },
    }),
  );
  // Requests are not looked into: they go where the first chain for any address goes.
  const first = connections.find(({ destinationSubnets }) => destinationSubnets === undefined) ?? connections[0];
  const route: Route | undefined = first && {
    name: 'default',
    matches: [],
    destinations: first.destinations,
    ...(first.provenance === undefined ? {} : { provenance: first.provenance }),
  };
  const [only] = found;
  const isPlain =
    found.length === 1 &&
    only !== undefined &&
    only.chain.subnets.length === 0 &&
    only.chain.serverNames.every((each) => each === host);
  return { name, routes: route === undefined ? [] : [route], ...(isPlain ? {} : { connections }) };
}
