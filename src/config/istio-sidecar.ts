import type { OutboundPolicy } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { PeerAuthentications } from './istio-peer-authentication.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { describePlace, describeResource } from './problem.ts';
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
      readonly egressProxy?: { readonly host: string; readonly subset?: string };
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
  // Calls that would have to go through a proxy must not go around it.
  const mode = policy.egressProxy === undefined ? (policy.mode ?? 'REGISTRY_ONLY') : 'REGISTRY_ONLY';
  if (option !== undefined && option !== mode) {
    const note = `the settings of this process say ${option}`;
    collector.warn(sidecar, ['spec', 'outboundTrafficPolicy'], 'ignored', note);
  }
  return mode;
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
