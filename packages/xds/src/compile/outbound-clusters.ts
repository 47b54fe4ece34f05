import type { EnforcementEntry } from 'inmesh/config';
import {
  type Cluster,
  type ConsistentHash,
  type Discovery,
  type Endpoint,
  type HashKey,
  type LocalityBalance,
  type LocalityWeight,
  localityOfWorkload,
  type ServiceProtocol,
} from 'inmesh/model';
import type { ResourceProblem, ResourceSet } from '../resources.ts';
import { kindOf } from '../resources.ts';
import { atOnce, type Steps } from '../turns.ts';
import { type ReadCluster, readCluster } from './cluster.ts';
import type { CompileContext } from './compile.ts';
import { type ReadEndpoint, type ReadEndpoints, readEndpoints } from './endpoints.ts';
import type { OutboundHosts } from './outbound-hosts.ts';
import { entriesOf } from './outbound-remarks.ts';

/** Clusters by name, and what was found on the way. */
export interface OutboundClusters {
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** Names under which endpoints are asked for. */
  readonly endpoints: ReadonlySet<string>;
  /** Clusters that others are made of. */
  readonly members: ReadonlySet<string>;
  readonly entries: readonly EnforcementEntry[];
  readonly problems: readonly ResourceProblem[];
}

/** Endpoints of a cluster, one list for each source, in the order in which they are called. */
type Sources = readonly ReadEndpoints[];

interface Made {
  readonly base: ReadCluster;
  readonly sources: Sources;
  readonly keys: readonly HashKey[] | undefined;
  readonly protocol: ServiceProtocol;
  readonly context: CompileContext;
  readonly cluster: Cluster;
}

/** What was made of a cluster last: one whose endpoints changed costs only itself. */
const made = new WeakMap<ReadCluster, Made>();

const maxAggregateDepth = 16;

export function outboundClusters(set: ResourceSet, context: CompileContext, hosts: OutboundHosts): OutboundClusters {
  return atOnce(clusterSteps(set, context, hosts));
}

/** The same in steps. What is made is kept: doing it again costs little. */
export function* clusterSteps(
  set: ResourceSet,
  context: CompileContext,
  { hashKeys, httpClusters }: OutboundHosts,
): Steps<OutboundClusters> {
  const clusters = new Map<string, Cluster>();
  const endpoints = new Set<string>();
  const members = new Set<string>();
  const entries: EnforcementEntry[] = [];
  const problems: ResourceProblem[] = [];
  for (const [name, any] of set.clusters) {
    if (isInboundCluster(name)) continue;
    const { ignored, value } = readCluster(any);
    entries.push(...entriesOf('clusters', name, { ignored, remarks: value.remarks }));
    const { base, sources } = sourcesOf(name, value);
    const protocol = protocolFor(name, value);
    clusters.set(name, yield* clusterFor(base, value, sources, hashKeys.get(name), protocol));
    yield;
  }
  for (const name of endpoints) {
    const any = set.endpoints.get(name);
    if (any === undefined) continue;
    const { ignored, value } = readEndpoints(any);
    if (ignored.length + value.remarks.length > 0) {
      entries.push(...entriesOf('endpoints', name, { ignored, remarks: value.remarks }));
    }
  }
  return { clusters, endpoints, members, entries, problems };

  function protocolFor(name: string, { policy }: ReadCluster): ServiceProtocol {
    if (policy.http2 === 'always') return 'http2';
    // Calls of gRPC go over HTTP/2 whatever is said here; others go as Envoy would send them.
    if (context.profile === 'grpc') return 'http';
    return httpClusters.has(name) ? 'http' : 'tcp';
  }

  /** `base`: the cluster whose way of connecting counts, which of several is the first. */
  function sourcesOf(name: string, value: ReadCluster): { readonly base: ReadCluster; readonly sources: Sources } {
    const { discovery } = value;
    if (discovery.kind === 'original') return { base: value, sources: [] };
    if (discovery.kind === 'eds') {
      endpoints.add(discovery.service);
      const any = set.endpoints.get(discovery.service);
      return { base: value, sources: any === undefined ? [] : [readEndpoints(any).value] };
    }
    if (discovery.kind !== 'aggregate') return { base: value, sources: [discovery.endpoints] };
    const leaves = leavesOf(name, discovery.clusters, [name], new Set());
    const [first] = leaves;
    if (first === undefined) return { base: value, sources: [] };
    const alike = leaves.filter((leaf) => {
      const same = JSON.stringify(connectionParts(leaf.read)) === JSON.stringify(connectionParts(first.read));
      if (!same) {
        entries.push({
          at: { kind: kindOf('clusters'), namespace: '', name },
          field: 'cluster_type.typed_config.clusters',
          status: 'ignored',
          note: `${leaf.name} is left out: its TLS or its way to find endpoints is not that of ${first.name}`,
          warning: true,
        });
      }
      return same;
    });
    return { base: first.read, sources: alike.flatMap(({ name: leaf, read }) => sourcesOf(leaf, read).sources) };
  }

  /** Clusters with endpoints of their own, in order, each once: where it comes first (gRFC A37). */
  function leavesOf(
    top: string,
    names: readonly string[],
    path: readonly string[],
    seen: Set<string>,
  ): readonly { readonly name: string; readonly read: ReadCluster }[] {
    return names.flatMap((name) => {
      members.add(name);
      if (path.includes(name) || path.length > maxAggregateDepth) {
        problems.push({
          type: 'clusters',
          resource: top,
          field: 'cluster_type.typed_config.clusters',
          value: name,
          message: path.includes(name) ? 'must not lead back to itself' : `at most ${maxAggregateDepth} in each other`,
        });
        return [];
      }
      if (seen.has(name)) return [];
      seen.add(name);
      const any = set.clusters.get(name);
      if (any === undefined) return [];
      const read = readCluster(any).value;
      if (read.discovery.kind === 'aggregate') return leavesOf(top, read.discovery.clusters, [...path, name], seen);
      return read.discovery.kind === 'original' ? [] : [{ name, read }];
    });
  }

  function* clusterFor(
    base: ReadCluster,
    own: ReadCluster,
    sources: Sources,
    keys: readonly HashKey[] | undefined,
    protocol: ServiceProtocol,
  ): Steps<Cluster> {
    const known = made.get(own);
    const same =
      known !== undefined &&
      known.base === base &&
      known.context === context &&
      known.protocol === protocol &&
      known.keys === keys &&
      known.sources.length === sources.length &&
      known.sources.every((each, index) => each === sources[index]);
    if (same) return known.cluster;
    const cluster = yield* compile(base, own, sources, keys, protocol, context);
    made.set(own, { base, sources, keys, protocol, context, cluster });
    return cluster;
  }
}

function isInboundCluster(name: string): boolean {
  return (
    name.startsWith('inbound|') || name === 'InboundPassthroughCluster' || name.startsWith('InboundPassthroughCluster')
  );
}

/** What must be the same for endpoints to be in one cluster. */
function connectionParts({ discovery, policy, speaksMtls }: ReadCluster): unknown {
  const { http2, proxyProtocol, serverIdentities, serverName, tls, tlsParameters } = policy;
  const kind = discovery.kind === 'eds' ? 'static' : discovery.kind;
  return [kind, http2, proxyProtocol, serverIdentities, serverName, tls, tlsParameters, speaksMtls];
}

/** Where automatic mTLS is not asked for, this is what would say that an endpoint accepts it. */
const istioMtls: Readonly<Record<string, string>> = { tlsMode: 'istio' };

function* compile(
  base: ReadCluster,
  own: ReadCluster,
  sources: Sources,
  keys: readonly HashKey[] | undefined,
  protocol: ServiceProtocol,
  context: CompileContext,
): Steps<Cluster> {
  const { name, host, port, subset } = own.policy;
  const wanted = Object.entries(base.speaksMtls ?? istioMtls);
  const endpoints: Endpoint[] = [];
  const weights: LocalityWeight[] = [];
  let offset = 0;
  for (const source of sources) {
    let highest = 0;
    for (const read of source.endpoints) {
      const priority = read.priority ?? 0;
      highest = Math.max(highest, priority);
      endpoints.push(endpointOf(read, offset + priority, speaks(read, wanted)));
      if ((endpoints.length & 63) === 0) yield;
    }
    for (const weight of source.weights) {
      weights.push(offset === 0 ? weight : { ...weight, priority: weight.priority + offset });
    }
    offset += highest + 1;
  }
  const hash = hashOf(base, keys);
  const localities = localitiesOf(base, weights, context);
  // Of clusters of clusters nobody says anything: Envoy asks the one that a route names.
  const drops = own.discovery.kind === 'aggregate' ? [] : sources.flatMap((source) => source.drops);
  const { serverIdentities, tls } = base.policy;
  const isForeign =
    typeof tls === 'object' ||
    (serverIdentities.length > 0 &&
      !serverIdentities.some((id) => id.startsWith(`spiffe://${context.workload.trustDomain}/`)));
  return {
    ...base.policy,
    name,
    host,
    port,
    subset,
    protocol,
    discovery: discoveryOf(base, endpoints),
    ...(hash === undefined ? {} : { hash }),
    ...(localities === undefined ? {} : { localities }),
    ...(drops.length === 0 ? {} : { drops }),
    ...(isForeign ? { foreign: true } : {}),
  };
}

function speaks({ socket }: ReadEndpoint, wanted: readonly (readonly [string, unknown])[]): boolean {
  for (const [key, value] of wanted) if (socket?.[key] !== value) return false;
  return true;
}

/** What was made of an endpoint last: it stays the same object in the versions that have it. */
const madeEndpoints = new WeakMap<ReadEndpoint, Endpoint>();

function endpointOf(read: ReadEndpoint, priority: number, speaksMtls: boolean): Endpoint {
  const known = madeEndpoints.get(read);
  if (known !== undefined && known.speaksMtls === speaksMtls && (known.priority ?? 0) === priority) return known;
  const { address, labels, locality, port, weight, workload } = read;
  const parts = { address, port, weight, labels, locality, workload, speaksMtls };
  const endpoint: Endpoint = priority === 0 ? parts : { ...parts, priority };
  madeEndpoints.set(read, endpoint);
  return endpoint;
}

function discoveryOf({ discovery }: ReadCluster, endpoints: readonly Endpoint[]): Discovery {
  switch (discovery.kind) {
    case 'original':
      return { kind: 'original', ...(discovery.port === undefined ? {} : { port: discovery.port }) };
    case 'dns':
      return { kind: 'dns', endpoints };
    case 'dns-first':
      return { kind: 'dns', endpoints, use: 'first' };
    default:
      return { kind: 'static', endpoints };
  }
}

function hashOf({ hash }: ReadCluster, keys: readonly HashKey[] = []): ConsistentHash | undefined {
  if (hash === undefined) return undefined;
  const [key, ...furtherKeys] = keys;
  return {
    ...(key === undefined ? {} : { key }),
    ...(furtherKeys.length === 0 ? {} : { furtherKeys }),
    ...hash,
  };
}

function localitiesOf(
  { locality }: ReadCluster,
  weights: readonly LocalityWeight[],
  { workload }: CompileContext,
): LocalityBalance | undefined {
  if (locality === undefined) return undefined;
  if (locality === 'weighted') return weights.length === 0 ? undefined : { kind: 'weighted', weights };
  const own = localityOfWorkload(workload);
  return own === '' ? undefined : { kind: 'zones', own, minClusterSize: locality.minClusterSize };
}
