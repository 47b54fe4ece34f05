import { clusterName } from '../model/cluster.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector, Note } from './collector.ts';
import type { DestinationRules } from './destination-rules.ts';
import type { Path } from './document.ts';
import type { DestinationSpec, HttpRouteSpec, VirtualService } from './istio-virtual-service.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
import { resolveHost } from './resource.ts';
import { keepsEndpoint } from './retry-endpoints.ts';
import type { MeshService } from './service.ts';

/** Destinations: from names in a VirtualService to clusters. */
export interface DestinationLinks {
  /**
   * Cluster of an HTTP destination; always a name, even when there is no such cluster: calls then answer 503. Without a
   * port it is that of the request, which is what istiod gives to sidecars.
   */
  forHttp(destination: DestinationSpec, port: number): string;
  /** Does istiod let retries of a route to this destination alone go to the same endpoint again? */
  keepsEndpoint(destination: DestinationSpec): boolean;
  /** The same for connections; without a port it is the only one of the service, else that of the connection. */
  forConnection(destination: DestinationSpec, port: number): string;
  /** Reports destinations that lead nowhere. */
  check(owner: VirtualService): void;
  /** Notes where the links that `make` asks for lead. */
  watch<Result>(make: () => Result): { readonly result: Result; readonly links: readonly Link[] };
  /** Makes links once more; says no when one of them leads elsewhere by now. */
  again(links: readonly Link[]): boolean;
}

/** A link as it was made. */
export interface Link {
  readonly host: string;
  readonly number: number;
  readonly subset: string;
  /** What the host was. */
  readonly service: MeshService | undefined;
  readonly cluster: string;
  /** Whether retries keep the endpoint, where the port is named and where it is not. */
  readonly keeps: readonly [boolean, boolean];
}

interface Checked {
  /** What was found under which name. */
  readonly found: ReadonlyMap<string, MeshService | undefined>;
  /** Nothing: no rule has a say. */
  readonly rules: DestinationRules | undefined;
  readonly notes: readonly Note[];
}

const neverKept: Link['keeps'] = [false, false];

/** By the VirtualService. What is said depends on nothing but what its names stand for. */
const checked = new WeakMap<VirtualService, Checked>();

export function createDestinationLinks(
  all: Registry,
  clusters: Clusters,
  rules: DestinationRules,
  { clusterDomain }: Workload,
  collector: Collector,
): DestinationLinks {
  let watched: Map<string, Link> | undefined;
  let looked = new Map<string, MeshService | undefined>();
  const registry: Pick<Registry, 'find'> = {
    find(host) {
      const service = all.find(host);
      looked.set(host, service);
      return service;
    },
  };
  return {
    forHttp: (destination, port) => link(destination, destination.port?.number ?? port),
    keepsEndpoint({ host, port, subset = '' }) {
      const service = all.find(host);
      return keepsEndpoint(service && rules.find(service), subset, port?.number);
    },
    forConnection(destination, port) {
      const ports = all.find(destination.host)?.ports ?? [];
      const only = ports.length === 1 ? ports[0]?.number : undefined;
      return link(destination, destination.port?.number ?? only ?? port);
    },
    check(owner) {
      const known = checked.get(owner);
      if (known !== undefined && isAsBefore(known)) {
        collector.repeat(known.notes);
        return;
      }
      looked = new Map();
      const mark = collector.mark();
      checkOwner(owner);
      const usesRules = namesSubset(owner) ? rules : undefined;
      checked.set(owner, { found: looked, rules: usesRules, notes: collector.since(mark) });
    },
    watch(make) {
      const outer = watched;
      const links = new Map<string, Link>();
      watched = links;
      const result = make();
      watched = outer;
      return { result, links: [...links.values()] };
    },
    again(links) {
      for (const { host, number, subset, service, cluster, keeps } of links) {
        if (all.find(host) !== service || linkTo(service, host, number, subset, cluster) !== cluster) return false;
        const [named, unnamed] = keepsAt(service, subset, number);
        if (named !== keeps[0] || unnamed !== keeps[1]) return false;
      }
      return true;
    },
  };

  function isAsBefore({ found, rules: before }: Checked): boolean {
    if (before !== undefined && before !== rules) return false;
    for (const [host, service] of found) if (all.find(host) !== service) return false;
    return true;
  }

  function checkOwner(owner: VirtualService): void {
    const { http = [], tcp = [], tls = [] } = owner.body.spec;
    for (const [index, rule] of http.entries()) {
      const path = ['spec', 'http', index];
      checkAll(owner, rule.route ?? [], [...path, 'route']);
      checkPorts(owner, rule, path);
      if (rule.mirror !== undefined) checkDestination(owner, rule.mirror, [...path, 'mirror']);
      checkAll(owner, rule.mirrors ?? [], [...path, 'mirrors']);
    }
    for (const [index, rule] of tcp.entries()) checkAll(owner, rule.route ?? [], ['spec', 'tcp', index, 'route']);
    for (const [index, rule] of tls.entries()) checkAll(owner, rule.route ?? [], ['spec', 'tls', index, 'route']);
  }

  function link({ host, subset = '' }: DestinationSpec, number: number): string {
    const key = `${number} ${subset} ${host}`;
    const known = watched?.get(key);
    if (known !== undefined) return known.cluster;
    const service = all.find(host);
    const cluster = linkTo(service, host, number, subset);
    watched?.set(key, { host, number, subset, service, cluster, keeps: keepsAt(service, subset, number) });
    return cluster;
  }

  function keepsAt(service: MeshService | undefined, subset: string, number: number): Link['keeps'] {
    const rule = service && rules.find(service);
    return rule === undefined
      ? neverKept
      : [keepsEndpoint(rule, subset, number), keepsEndpoint(rule, subset, undefined)];
  }

  /** `before`: the name of the cluster, if nothing has changed. */
  function linkTo(
    service: MeshService | undefined,
    host: string,
    number: number,
    subset: string,
    before?: string,
  ): string {
    const port = service?.ports.find((each) => each.number === number);
    // An alias of a service has another name than its clusters.
    const name = service === undefined || service.host === host ? before : undefined;
    const used = service && port && clusters.use(service, port, subset, name);
    return used ?? name ?? clusterName(host, number, subset);
  }

  /** Without a port a request keeps its own, and the destination may have another. */
  function checkPorts(owner: VirtualService, rule: HttpRouteSpec, path: Path): void {
    for (const [index, { destination }] of (rule.route ?? []).entries()) {
      if (destination.port !== undefined) continue;
      const service = registry.find(resolveHost(destination.host, owner.namespace, clusterDomain));
      if (service === undefined) continue;
      const missing = requestPorts(owner, rule).find((number) => !service.ports.some((port) => port.number === number));
      if (missing === undefined) continue;
      const only = service.ports.length === 1 ? `; write port: {number: ${service.ports[0]?.number}}` : '';
      const note = `${service.host} has no port ${missing}, which is taken from the request: calls to that port answer 503${only}`;
      collector.warn(owner, [...path, 'route', index, 'destination'], 'enforced', note);
    }
  }

  /** Ports of the services among the hosts, as far as a rule is for them. */
  function requestPorts({ body, namespace }: VirtualService, { match = [] }: HttpRouteSpec): readonly number[] {
    const wanted = match.map(({ port = 0 }) => port);
    const ports = (body.spec.hosts ?? []).flatMap((name) => {
      const service = registry.find(resolveHost(name, namespace, clusterDomain));
      return (service?.ports ?? []).filter((port) => isHttp(port.protocol)).map((port) => port.number);
    });
    return wanted.length === 0 || wanted.includes(0) ? ports : ports.filter((port) => wanted.includes(port));
  }

  function checkAll(
    owner: VirtualService,
    all: readonly { readonly destination: DestinationSpec }[],
    path: Path,
  ): void {
    for (const [index, { destination }] of all.entries()) {
      checkDestination(owner, destination, [...path, index, 'destination']);
    }
  }

  function checkDestination(owner: VirtualService, destination: DestinationSpec, path: Path): void {
    const host = resolveHost(destination.host, owner.namespace, clusterDomain);
    const warn = (field: string, note: string): void => {
      collector.warn(owner, [...path, ...field.split('.')], 'enforced', `${note}: calls answer 503`);
    };
    const service = registry.find(host);
    if (service === undefined) {
      const long = `${host}.svc.${clusterDomain}`;
      const hint = registry.find(long) === undefined ? '' : `; write ${long}`;
      collector.warn(owner, [...path, 'host'], 'enforced', `no service has the host ${host}: calls answer 503${hint}`);
      return;
    }
    const number = destination.port?.number;
    if (number !== undefined && !service.ports.some((port) => port.number === number)) {
      warn('port.number', `${host} has no port ${number}`);
    }
    const subset = destination.subset ?? '';
    if (subset === '' || rules.find(service)?.subsets.has(subset) === true) return;
    const known = rules.subsetsOf(host);
    if (known.has(subset)) warn('subset', `the DestinationRule with subset ${subset} is not for this workload`);
    else {
      const names = known.size === 0 ? 'there is none' : `there are ${[...known].slice(0, 10).join(', ')}`;
      warn('subset', `no DestinationRule defines subset ${subset} for ${host} (${names})`);
    }
  }
}

/** Only then do DestinationRules matter. */
function namesSubset({ body }: VirtualService): boolean {
  const { http = [], tcp = [], tls = [] } = body.spec;
  const named = ({ subset = '' }: DestinationSpec): boolean => subset !== '';
  return (
    [...http, ...tcp, ...tls].some(({ route = [] }) => route.some(({ destination }) => named(destination))) ||
    http.some(
      ({ mirror, mirrors = [] }) =>
        (mirror !== undefined && named(mirror)) || mirrors.some((each) => named(each.destination)),
    )
  );
}
