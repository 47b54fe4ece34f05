import { keepRoutes, markShared, type Snapshot } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { createClusters, type OwnPolicies } from './clusters.ts';
import { type Collector, createCollector } from './collector.ts';
import { rulesWrittenIn } from './delegates.ts';
import { createDestinationLinks } from './destination-links.ts';
import type { DestinationRules } from './destination-rules.ts';
import type { ConfigDocument } from './document.ts';
import { applyExportDefaults, checkExportTo } from './export-to.ts';
import { createHostCompiler, hostAndPort } from './host-compiler.ts';
import type { HostOwners } from './host-owners.ts';
import type { PeerAuthentications } from './istio-peer-authentication.ts';
import { isDelegate, isForMesh, type VirtualService, type VirtualServiceBody } from './istio-virtual-service.ts';
import { checkVirtualService } from './istio-virtual-service-check.ts';
import { Layered } from './layered.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
import { sameItems } from './remember.ts';
import { type Found, readResourcesOf, resolveHost } from './resource.ts';
import type { MeshService } from './service.ts';
import { digestOf } from './version.ts';
import { defaultPort, otherNames } from './virtual-hosts.ts';

/** What a compilation leaves behind for one that differs from it by some rules only. */
export interface CompileState {
  readonly documents: readonly ConfigDocument[];
  /** A digest of each document. */
  readonly digests: readonly string[];
  /** Namespace of resources that name none. */
  readonly defaultNamespace: string;
  /** As the configuration made it. */
  readonly workload: Workload;
  readonly mesh: MeshSettings;
  readonly registry: Registry;
  readonly rules: DestinationRules;
  readonly peers: PeerAuthentications;
  readonly own: OwnPolicies;
  readonly owners: {
    /** `HostOwners.byHost`. */
    readonly byHost: ReadonlyMap<string, readonly VirtualService[]>;
    readonly forConnections: HostOwners['forConnections'];
  };
  /** How often each cluster is led to. */
  readonly uses: ReadonlyMap<string, number>;
}

/** A state, and the snapshot that belongs to it, still under its old version. */
export interface Recompiled {
  readonly snapshot: Snapshot;
  readonly state: CompileState;
}

/** More changes than these are no small change. */
const maxChanges = 1_000;

/** Of these a snapshot does not say in which lines they stand. */
const placeless: ReadonlySet<string> = new Set([
  'ServiceEntry',
  'DestinationRule',
  'WorkloadEntry',
  'Service',
  'EndpointSlice',
  'Pod',
]);

/**
 * What a whole compilation would make of the documents, where nothing but `http` rules of
 * VirtualServices changed: costs what changed, and not what exists. Nothing where that is not so,
 * or something is wrong: then the whole must be compiled.
 */
export function recompile(
  documents: readonly ConfigDocument[],
  before: CompileState,
  previous: Snapshot,
): Recompiled | undefined {
  // What these rules say counts for requests that arrive, too; and no rule leads to a proxy for unknown hosts.
  if (previous.inbound.cors !== undefined || previous.egressProxy !== undefined) return undefined;
  const changed = changedIndexes(before.documents, documents);
  if (changed === undefined) return undefined;
  const collector = createCollector();
  const pairs: Pair[] = [];
  const digests = [...before.digests];
  for (const index of changed) {
    const document = documents[index] as ConfigDocument;
    const known = before.documents[index] as ConfigDocument;
    const digest = digestOf(document);
    const isMoved = digest === before.digests[index];
    if (isMoved && isPlaceless(known, before, collector)) continue;
    const old = virtualServiceOf(known, before, collector);
    const fresh = virtualServiceOf(document, before, collector);
    if (old === undefined || fresh === undefined || collector.problems.length > 0) return undefined;
    if (hasCors(fresh.resource.body)) return undefined;
    const pair = pairOf(old, fresh, before);
    if (pair === undefined) return undefined;
    pairs.push(pair);
    digests[index] = digest;
    // What was good before is good in other lines too.
    if (isMoved) continue;
    checkExportTo(fresh.resource, collector);
    checkVirtualService(pair.fresh, collector);
    if (collector.problems.length > 0) return undefined;
  }
  return replaceRules(pairs, { ...before, documents, digests }, previous, collector);
}

function hasCors(body: VirtualServiceBody): boolean {
  return (body.spec.http ?? []).some(({ corsPolicy }) => corsPolicy !== undefined);
}

/** Nothing when documents were added or removed, or too many changed. */
function changedIndexes(
  before: readonly ConfigDocument[],
  documents: readonly ConfigDocument[],
): readonly number[] | undefined {
  if (before.length !== documents.length) return undefined;
  const changed: number[] = [];
  for (let index = 0; index < documents.length; index++) {
    if (documents[index] === before[index]) continue;
    if (changed.length === maxChanges) return undefined;
    changed.push(index);
  }
  return changed;
}

/** Where it stands matters for the report only. */
function isPlaceless(document: ConfigDocument, { defaultNamespace }: CompileState, collector: Collector): boolean {
  return readResourcesOf(document, defaultNamespace, collector).every(({ resource }) => placeless.has(resource.kind));
}

interface FoundService {
  readonly id: string;
  readonly resource: VirtualService;
}

function virtualServiceOf(
  document: ConfigDocument,
  { defaultNamespace }: CompileState,
  collector: Collector,
): FoundService | undefined {
  const all: readonly Found[] = readResourcesOf(document, defaultNamespace, collector);
  const [only] = all;
  // A table has checked the body.
  return all.length === 1 && only?.resource.kind === 'VirtualService' ? (only as FoundService) : undefined;
}

/** A VirtualService that differs from what it was in its rules alone, and the services that it alone decides for. */
interface Pair {
  readonly old: VirtualService;
  readonly fresh: VirtualService;
  readonly services: readonly MeshService[];
}

function pairOf(before: FoundService, after: FoundService, state: CompileState): Pair | undefined {
  const { mesh, owners, registry, workload } = state;
  const [old, fresh] = applyExportDefaults([before.resource, after.resource], mesh) as readonly [
    VirtualService,
    VirtualService,
  ];
  if (before.id !== after.id || old.createdAt !== fresh.createdAt) return undefined;
  const [a, b] = [old.body.spec, fresh.body.spec];
  const { hosts = [] } = b;
  const same = (['hosts', 'gateways', 'exportTo'] as const).every((name) => sameItems(a[name] ?? [], b[name] ?? []));
  if (!same || isDelegate(fresh) || !isForMesh(fresh)) return undefined;
  if ([a, b].some(({ http = [], tcp, tls }) => tcp || tls || http.some((rule) => rule.delegate))) return undefined;
  const services: MeshService[] = [];
  for (const name of hosts) {
    const host = resolveHost(name, fresh.namespace, workload.clusterDomain);
    const service = registry.find(host);
    // An alias has no rules of its own, and hosts that are no services depend on more than one VirtualService.
    if (host.startsWith('*') || service?.host !== host) return undefined;
    const deciding = owners.byHost.get(host);
    if (deciding?.length !== 1 || deciding[0] !== old) return undefined;
    services.push(service);
  }
  return { old, fresh, services };
}

function replaceRules(
  pairs: readonly Pair[],
  state: CompileState,
  previous: Snapshot,
  collector: Collector,
): Recompiled | undefined {
  if (pairs.length === 0) return { snapshot: markShared(previous, { ...previous }), state };
  const { mesh, own, owners, peers, registry, rules, workload } = state;
  const byName = Layered.of(previous.clusters);
  const hosts = Layered.of(previous.hosts);
  const byHost = Layered.of(owners.byHost);
  const uses = Layered.of(state.uses);
  const touched = new Set<string>();
  const clusters = createClusters(rules, peers, workload, mesh, own, byName);
  const links = createDestinationLinks(registry, clusters, rules, workload, collector);
  const compilerOf = (change: 1 | -1) =>
    createHostCompiler(
      {
        clusters,
        links,
        workload,
        defaultRetry: mesh.retry,
        rulesIn: (owner) => rulesWrittenIn(owner, workload.clusterDomain),
        use(cluster) {
          touched.add(cluster);
          uses.set(cluster, (uses.get(cluster) ?? 0) + change);
        },
      },
      collector,
    );
  const [without, with_] = [compilerOf(-1), compilerOf(1)];
  for (const { fresh, old, services } of pairs) {
    for (const service of services) {
      byHost.set(service.host, [fresh]);
      const forConnections = owners.forConnections(service.host);
      for (const port of service.ports) {
        without.hostOf(service, port, [old], forConnections);
        const made = with_.hostOf(service, port, [fresh], forConnections);
        const name = hostAndPort(service.host, port.number);
        const known = previous.hosts.get(name);
        const host = keepRoutes(known, made);
        for (const each of [name, ...otherNames(service, port.number, workload)]) {
          if (previous.hosts.get(each) === known) hosts.set(each, host);
        }
      }
      for (const port of portsBeside(service, services)) {
        const known = without.strangerOf(service.host, port, [old]);
        const made = with_.strangerOf(service.host, port, [fresh]);
        // What comes or goes may give its name to others, or take it from them.
        if ((known === undefined) !== (made === undefined)) return undefined;
        const name = hostAndPort(service.host, port);
        if (made !== undefined) hosts.set(name, keepRoutes(previous.hosts.get(name), made));
      }
    }
  }
  for (const cluster of touched) {
    if ((uses.get(cluster) ?? 0) > 0) continue;
    uses.set(cluster, undefined);
    byName.set(cluster, undefined);
  }
  const snapshot = markShared(previous, { ...previous, hosts, clusters: byName });
  return { snapshot, state: { ...state, owners: { ...owners, byHost }, uses } };
}

/** Where a host is served that its service does not serve: what a whole compilation finds for it. */
function portsBeside(service: MeshService, services: readonly MeshService[]): ReadonlySet<number> {
  const ports = new Set([defaultPort]);
  for (const each of services) for (const port of each.ports) if (isHttp(port.protocol)) ports.add(port.number);
  for (const port of service.ports) ports.delete(port.number);
  return ports;
}
