import { clusterName } from '../model/cluster.ts';
import type { InboundPool, InboundPools } from '../model/inbound.ts';
import type { OutboundPolicy } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import type { PeerAuthentications } from './istio-peer-authentication.ts';
import type { DestinationSpec } from './istio-virtual-service.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { describePlace, describeResource } from './problem.ts';
import type { Registry } from './registry.ts';
import { byAge, type Resource } from './resource.ts';
import type { ConnectionPoolSpec } from './traffic-policy-spec.ts';
import { selects } from './values.ts';

export interface SidecarBody {
  readonly spec: {
    readonly workloadSelector?: { readonly labels?: Readonly<Record<string, string>> };
    readonly egress?: readonly EgressListener[];
    readonly ingress?: readonly IngressListener[];
    readonly outboundTrafficPolicy?: {
      readonly mode?: OutboundPolicy;
      readonly egressProxy?: DestinationSpec;
    };
    readonly inboundConnectionPool?: ConnectionPoolSpec;
  };
}

export interface ListenerPort {
  readonly number: number;
  readonly protocol?: string;
  readonly name?: string;
  readonly targetPort?: number;
}

export interface EgressListener {
  /** Without a number it is 0, which is that of a Unix socket. */
  readonly port?: Omit<ListenerPort, 'number'> & { readonly number?: number };
  readonly bind?: string;
  readonly captureMode?: 'DEFAULT' | 'IPTABLES' | 'NONE';
  readonly hosts: readonly string[];
}

export interface IngressListener {
  readonly port: ListenerPort;
  readonly bind?: string;
  readonly defaultEndpoint?: string;
  readonly tls?: ServerTlsSpec;
  readonly connectionPool?: ConnectionPoolSpec;
}

export interface ServerTlsSpec {
  readonly mode?: string;
  readonly httpsRedirect?: boolean;
  readonly serverCertificate?: string;
  readonly privateKey?: string;
  readonly caCertificates?: string;
  readonly caCrl?: string;
  readonly credentialName?: string;
  readonly credentialNames?: readonly string[];
  readonly tlsCertificates?: readonly unknown[];
  readonly subjectAltNames?: readonly string[];
}

export type Sidecar = Resource<SidecarBody>;

/**
 * The Sidecar that is for this workload, by Istio's order: one of its namespace whose selector
 * matches, one of its namespace without a selector, one of the root namespace without a selector.
 * Of several the oldest counts; the others are reported.
 */
export function selectSidecar(
  resources: readonly Sidecar[],
  workload: Workload,
  { rootNamespace }: MeshSettings,
  collector: Collector,
): Sidecar | undefined {
  const ordered = [...resources].sort(byAge);
  const selector = (each: Sidecar) => each.body.spec.workloadSelector;
  const own = ordered.filter((each) => each.namespace === workload.namespace);
  const selecting = own.filter((each) => {
    const given = selector(each);
    return given !== undefined && selects(given.labels ?? {}, workload.labels);
  });
  const levels = [
    selecting,
    own.filter((each) => selector(each) === undefined),
    // Those of the root namespace are for others, too.
    ordered.filter(
      (each) =>
        each.namespace === rootNamespace && each.namespace !== workload.namespace && selector(each) === undefined,
    ),
  ];
  for (const [first, ...younger] of levels) {
    if (first === undefined) continue;
    for (const each of younger) {
      collector.retract(each);
      const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
      collector.warn(each, ['spec'], 'ignored', `${winner} is older and counts instead`);
    }
  }
  return levels.flat()[0];
}

/** What a Sidecar says about hosts that nobody knows; nothing when it leaves that to the mesh. */
export function sidecarOutboundPolicy(
  sidecar: Sidecar | undefined,
  option: OutboundPolicy | undefined,
  collector: Collector,
): OutboundPolicy | undefined {
  const policy = sidecar?.body.spec.outboundTrafficPolicy;
  if (sidecar === undefined || policy === undefined) return undefined;
  const { mode = 'REGISTRY_ONLY' } = policy;
  if (option !== undefined && option !== mode) {
    const note = `the settings of this process say ${option}`;
    collector.warn(sidecar, ['spec', 'outboundTrafficPolicy'], 'ignored', note);
  }
  return mode;
}

/**
 * The cluster of `egressProxy`, through which unknown hosts are called; nothing without one. Always a name: where there
 * is no such cluster, calls answer 503 and do not go around the proxy. As in Istio the host is not completed, and the
 * service must be among those that the Sidecar imports.
 */
export function egressProxyOf(
  sidecar: Sidecar | undefined,
  registry: Registry,
  clusters: Clusters,
  collector: Collector,
): string | undefined {
  const proxy = sidecar?.body.spec.outboundTrafficPolicy?.egressProxy;
  if (sidecar === undefined || proxy === undefined) return undefined;
  const { host, port, subset = '' } = proxy;
  const service = registry.find(host);
  const number = port?.number ?? 0;
  const found = service?.ports.find((each) => each.number === number);
  const cluster = service && found && clusters.use(service, found, subset);
  if (cluster === undefined) {
    const missing =
      service === undefined
        ? `no service that this workload may call has the host ${host}`
        : found === undefined
          ? `${host} has no port ${number}`
          : `no DestinationRule defines subset ${subset} for ${host}`;
    const path = ['spec', 'outboundTrafficPolicy', 'egressProxy'];
    collector.warn(sidecar, path, 'enforced', `${missing}: calls to unknown hosts answer 503`);
  }
  return cluster ?? clusterName(host, number, subset);
}

/** How much the ports take at a time: the pool of an ingress listener replaces that of the Sidecar, as in Istio. */
export function inboundPoolsOf(sidecar: Sidecar | undefined): InboundPools | undefined {
  if (sidecar === undefined) return undefined;
  const { inboundConnectionPool, ingress = [] } = sidecar.body.spec;
  const ports = new Map(
    ingress.flatMap(({ connectionPool, port }) =>
      connectionPool === undefined ? [] : [[port.number, inboundPool(connectionPool)] as const],
    ),
  );
  const others = inboundConnectionPool && inboundPool(inboundConnectionPool);
  const limits = [...ports.values(), ...(others === undefined ? [] : [others])];
  if (!limits.some((pool) => Object.values(pool).some(Number.isFinite))) return undefined;
  return { ports, ...(others === undefined ? {} : { others }) };
}

/** In Istio a limit of 0 is not set. */
function inboundPool({ http = {}, tcp = {} }: ConnectionPoolSpec): InboundPool {
  const unlimited = Number.POSITIVE_INFINITY;
  return {
    maxConnections: tcp.maxConnections || unlimited,
    maxPendingRequests: http.http1MaxPendingRequests || unlimited,
    maxRequests: http.http2MaxRequests || unlimited,
  };
}

/** Istio terminates TLS with the certificates of a Sidecar where mutual TLS is off; that would be missing here. */
export function refuseIngressTls(
  sidecar: Sidecar | undefined,
  peers: PeerAuthentications,
  workload: Workload,
  collector: Collector,
): void {
  const { mode, ports } = peers.policyFor(workload.namespace, workload.labels);
  sidecar?.body.spec.ingress?.forEach(({ port, tls }, index) => {
    if (tls === undefined || (ports.get(port.number) ?? mode) !== 'DISABLE') return;
    const why = 'inmesh does not serve TLS with other certificates than those of the mesh, and would serve plaintext';
    collector.refuse(sidecar, ['spec', 'ingress', index, 'tls'], `is refused: ${why}`);
  });
}
