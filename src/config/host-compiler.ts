import type { ConnectionRoute, RetryPolicy, Route, SkippedRule, VirtualHost } from '../model/route.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import type { HttpRule } from './delegates.ts';
import type { DestinationLinks, Link } from './destination-links.ts';
import { hostMatches } from './destination-rules.ts';
import { createExtensions } from './inmesh-annotations.ts';
import { type CompiledConnections, compileTcpRules, compileTlsRules } from './istio-connections.ts';
import { type CompiledRules, compileHttpRules } from './istio-http-routes.ts';
import type { VirtualService } from './istio-virtual-service.ts';
import { isHttp } from './protocol.ts';
import { type RememberedPart, rememberPart, sameItems } from './remember.ts';
import { resolveHost } from './resource.ts';
import type { MeshService, ServicePort } from './service.ts';

/** What was made of rules, and what of it depends on other resources. */
interface Linked<Result> {
  readonly result: Result;
  readonly links: readonly Link[];
}

/** What was made of one VirtualService. */
interface OfOwner {
  readonly byPort: Map<number, Linked<CompiledRules>>;
  readonly routes: Map<HttpRule, Route>;
}

/** What a host compiler needs. */
export interface HostCompilerSources {
  readonly clusters: Clusters;
  readonly links: DestinationLinks;
  readonly workload: Workload;
  readonly defaultRetry: RetryPolicy | undefined;
  rulesIn(owner: VirtualService): readonly HttpRule[];
  /** Called with the name of each cluster that a host leads to, more than once for some. */
  use(cluster: string): void;
}

export interface HostCompiler {
  /** One port of a service, under the rules of the VirtualServices that may decide for it. */
  hostOf(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
    forConnections: readonly VirtualService[],
  ): VirtualHost;
  /** A host that only VirtualServices know; nothing when none of them has a rule for the port. */
  strangerOf(host: string, port: number, candidates: readonly VirtualService[]): VirtualHost | undefined;
}

/** By the list of rules, for each port. */
const rulesCompiled = rememberPart<readonly HttpRule[], Linked<CompiledRules>>();
const connectionsCompiled = rememberPart<MeshService, Linked<CompiledConnections>>();
const hostCompiled = rememberPart<MeshService, VirtualHost>();
const strangerCompiled = rememberPart<CompiledRules, VirtualHost>();
const noConnections: CompiledConnections = { connections: [], skipped: [], closed: false };
const noRules: CompiledRules = { routes: [], skipped: [] };

/** Makes virtual hosts; those whose parts are the same as before are the same objects. */
export function createHostCompiler(sources: HostCompilerSources, collector: Collector): HostCompiler {
  const { clusters, defaultRetry, links, rulesIn, use, workload } = sources;
  const extensions = createExtensions();
  const compiled = new Map<VirtualService, OfOwner>();
  return {
    hostOf,
    strangerOf(host, port, candidates) {
      const found = rulesFor(candidates, port);
      const last = found.at(-1) ?? noRules;
      if (last.routes.length === 0) return undefined;
      const name = hostAndPort(host, port);
      return strangerCompiled(last, name, found, () => ({
        name,
        routes: last.routes,
        ...withSkipped(found.flatMap((each) => each.skipped)),
      }));
    },
  };

  function hostOf(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
    forConnections: readonly VirtualService[],
  ): VirtualHost {
    const http = isHttp(port.protocol);
    const found = http ? rulesFor(candidates, port.number) : [];
    const ofConnections = connectionsFor(service, port, forConnections);
    const last = found.at(-1) ?? noRules;
    const opaque =
      http || ofConnections.connections.length === 0 ? undefined : opaqueRoute(service, ofConnections.connections);
    const routed = opaque !== undefined || last.routes.length > 0;
    const open = ofConnections.connections.length > 0 && !ofConnections.closed;
    // Used in any case where the service answers for itself.
    if (!routed || open) use(clusters.use(service, port) ?? '');
    return hostCompiled(service, port.number, [port, http && defaultRetry, ofConnections, ...found], () => {
      const given = opaque === undefined ? last.routes : [opaque];
      // A VirtualService of which nothing applies leaves the service as it was.
      const routes = given.length > 0 ? given : [defaultRoute(service, port, http)];
      const connections = open
        ? [...ofConnections.connections, defaultConnection(service, port)]
        : ofConnections.connections;
      return {
        name: hostAndPort(service.host, port.number),
        routes,
        ...withSkipped([...found.flatMap(({ skipped }) => skipped), ...ofConnections.skipped]),
        ...(connections.length === 0 ? {} : { connections }),
      };
    });
  }

  /** What VirtualServices say of a port, up to the first that has a rule for it. */
  function rulesFor(candidates: readonly VirtualService[], port: number): readonly CompiledRules[] {
    const all: CompiledRules[] = [];
    for (const owner of candidates) {
      const { links: made, result } = rulesOf(owner, port);
      for (const link of made) use(link.cluster);
      all.push(result);
      if (result.routes.length > 0) break;
    }
    return all;
  }

  function rulesOf(owner: VirtualService, port: number): Linked<CompiledRules> {
    let ofOwner = compiled.get(owner);
    if (ofOwner === undefined) compiled.set(owner, (ofOwner = { byPort: new Map(), routes: new Map() }));
    const { byPort, routes } = ofOwner;
    let found = byPort.get(port);
    if (found === undefined) {
      const rules = rulesIn(owner);
      found = linked(rulesCompiled, rules, port, [workload, defaultRetry], () => {
        const caller = { namespace: workload.namespace, labels: workload.labels, port };
        const clusterOf =
          () =>
          (destination: Parameters<typeof links.forHttp>[0]): string =>
            links.forHttp(destination, port);
        const extensionsOf = (rule: HttpRule) => extensions.of(rule);
        const { keepsEndpoint } = links;
        const context = { caller, defaultRetry, clusterOf, keepsEndpoint, extensionsOf, elsewhere: routes };
        const made = compileHttpRules(rules, context, collector);
        for (const { result } of byPort.values()) if (isSame(made, result)) return result;
        return made;
      });
      byPort.set(port, found);
    }
    return found;
  }

  /** Makes what was not made before, and what leads elsewhere by now. */
  function linked<Key extends object, Result>(
    step: RememberedPart<Key, Linked<Result>>,
    key: Key,
    port: number,
    inputs: readonly unknown[],
    make: () => Result,
  ): Linked<Result> {
    let isNew = false;
    const watched = (): Linked<Result> => {
      isNew = true;
      return links.watch(make);
    };
    const found = step(key, port, inputs, watched);
    if (isNew || links.again(found.links)) return found;
    return step.again(key, port, inputs, watched);
  }

  function connectionsFor(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
  ): CompiledConnections {
    if (candidates.length === 0) return noConnections;
    const { links: made, result } = linked(
      connectionsCompiled,
      service,
      port.number,
      [port, workload, ...candidates],
      () => {
        const context = {
          caller: { namespace: workload.namespace, labels: workload.labels, port: port.number },
          clusterOf: (owner: VirtualService, { host, ...rest }: Parameters<typeof links.forHttp>[0]) =>
            links.forConnection(
              { ...rest, host: resolveHost(host, owner.namespace, workload.clusterDomain) },
              port.number,
            ),
        };
        const tls = port.protocol === 'tls' || port.protocol === 'https';
        return (tls ? compileTlsRules : compileTcpRules)(candidates, context, collector);
      },
    );
    for (const link of made) use(link.cluster);
    return result;
  }

  function defaultConnection(service: MeshService, port: ServicePort): ConnectionRoute {
    return { name: 'default', destinations: [{ cluster: clusters.use(service, port) ?? '', weight: 1 }] };
  }

  function defaultRoute(service: MeshService, port: ServicePort, http: boolean): Route {
    const cluster = clusters.use(service, port) ?? '';
    // Retries are a matter of HTTP: Istio carries other protocols as bytes. Without a VirtualService they pass over
    // endpoints that failed, consistent hash or none.
    return {
      name: 'default',
      matches: [],
      destinations: [{ cluster, weight: 1 }],
      ...(http && defaultRetry !== undefined ? { retry: defaultRetry } : {}),
    };
  }
}

/**
 * What becomes of calls to a port whose content a sidecar does not read: the first rule that takes such connections,
 * whatever their address; of `tls` rules the first for the name of the service, which is the SNI of such calls.
 */
function opaqueRoute(service: MeshService, connections: readonly ConnectionRoute[]): Route | undefined {
  const found = connections.find(
    ({ sniHosts, destinationSubnets }) =>
      destinationSubnets === undefined &&
      (sniHosts === undefined || sniHosts.some((name) => hostMatches(name, service.host))),
  );
  if (found === undefined) return undefined;
  const { name, destinations, provenance } = found;
  return { name, matches: [], destinations, ...(provenance === undefined ? {} : { provenance }) };
}

/** Does a VirtualService say the same for two ports? */
function isSame(a: CompiledRules, b: CompiledRules): boolean {
  return sameItems(a.routes, b.routes) && a.skipped.length === 0 && b.skipped.length === 0;
}

function withSkipped(skipped: readonly SkippedRule[]): Pick<VirtualHost, 'skipped'> {
  return skipped.length === 0 ? {} : { skipped };
}

/** `reviews.bookinfo:9080`, `[::1]:9080`. */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
