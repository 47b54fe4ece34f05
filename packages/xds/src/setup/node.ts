import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { localityOfWorkload, type Workload } from 'inmesh/model';
import type { XdsProfile } from '../compile/compile.ts';
import type { Node, NodeLocality } from '../proto/envoy/node.ts';
import type { Json, JsonObject } from '../proto/struct.ts';
import type { NodeOptions } from './options.ts';
import { invalid } from './server.ts';

/** Variables of a process, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What is understood here, in the words of Envoy's list of client features: heartbeats and times to
 * live, wrapped resources; endpoints are not overprovisioned.
 */
const clientFeatures: readonly string[] = [
  'envoy.lb.does_not_support_overprovisioning',
  'xds.config.resource-in-sotw',
  'xds.config.supports-resource-ttl',
];

/** Release of Istio whose configuration we understand. */
const istioVersion = '1.32.0';

/** Addresses of this process: of the options, of the pod's environment, of the machine. */
export function addressesOf({ addresses }: NodeOptions, env: Environment): readonly string[] {
  for (const address of addresses ?? []) {
    if (isIP(address) === 0) throw invalid('node.addresses', 'expected IP addresses', address);
  }
  if (addresses !== undefined) return addresses;
  const told = (env['INSTANCE_IPS'] ?? env['INSTANCE_IP'] ?? env['POD_IP'] ?? '').split(',').map((one) => one.trim());
  const valid = told.filter((address) => isIP(address) !== 0);
  if (valid.length > 0) return valid;
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ address, internal }) => !internal && !address.startsWith('fe80'))
    .map(({ address }) => address);
}

/**
 * Who asks, in the form that the profile wants. istiod selects configuration by namespace, labels
 * and addresses, and compares namespace and service account with the identity of the caller.
 */
export function nodeOf(
  profile: XdsProfile,
  options: NodeOptions,
  workload: Workload,
  addresses: readonly string[],
  env: Environment,
): Partial<Node> {
  const pod = options.pod ?? env['POD_NAME'] ?? workload.name;
  const { clusterDomain, namespace } = workload;
  const own = addresses[0] ?? '127.0.0.1';
  const locality = localityOf(options, workload);
  const app = workload.labels['service.istio.io/canonical-name'] ?? workload.labels['app'] ?? workload.name;
  const common = {
    cluster: options.cluster ?? `${app}.${namespace}`,
    user_agent_name: 'inmesh',
    client_features: clientFeatures,
    ...(locality === undefined ? {} : { locality }),
  };
  if (profile === 'grpc') {
    return { id: options.id ?? `${pod}.${namespace}`, ...common, metadata: options.metadata ?? {} };
  }
  const id = options.id ?? `sidecar~${own}~${pod}.${namespace}~${namespace}.svc.${clusterDomain}`;
  if (id.split('~').length !== 4) throw invalid('node.id', 'expected TYPE~IP~NAME.NAMESPACE~DOMAIN', id);
  const metadata: JsonObject = {
    NAMESPACE: namespace,
    SERVICE_ACCOUNT: workload.serviceAccount,
    LABELS: { ...workload.labels },
    INSTANCE_IPS: addresses.join(','),
    CLUSTER_ID: 'Kubernetes',
    ISTIO_VERSION: istioVersion,
    WORKLOAD_NAME: workload.name,
    NAME: pod,
    // There must be one for istioctl to list us.
    PROXY_CONFIG: proxyConfigOf(env),
    // Booleans are texts there. Endpoints of ambient meshes come as sidecars reach them.
    DISABLE_HBONE_SEND: 'true',
    ...fromEnvironment(env),
    ...options.metadata,
  };
  if (metadata['INTERCEPTION_MODE'] === 'NONE') {
    throw invalid('node.metadata.INTERCEPTION_MODE', 'istiod has no policies for callers of a node with NONE');
  }
  return { id, ...common, metadata };
}

/** `PROXY_CONFIG`, which the injector writes. @throws MeshError `ERR_MESH_OPTION_INVALID` */
export function proxyConfigOf(env: Environment): JsonObject {
  const text = env['PROXY_CONFIG'];
  if (text === undefined || text.trim() === '') return {};
  const value = jsonOf('PROXY_CONFIG', text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('PROXY_CONFIG', 'expected a JSON object', text);
  }
  return value as JsonObject;
}

/** `ISTIO_META_…` and `ISTIO_METAJSON_…`, as istio-agent takes them. */
function fromEnvironment(env: Environment): JsonObject {
  const found: Record<string, Json> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || value === '') continue;
    if (name.startsWith('ISTIO_METAJSON_')) {
      const parsed = jsonOf(name, value);
      const key = name.slice('ISTIO_METAJSON_'.length);
      // Annotations and labels of a pod are spread, anything else is one member.
      if (key === 'LABELS' || key === 'ANNOTATIONS' || typeof parsed !== 'object') found[key] = parsed;
      else Object.assign(found, parsed);
    } else if (name.startsWith('ISTIO_META_')) found[name.slice('ISTIO_META_'.length)] = value;
  }
  if (env['NODE_NAME'] !== undefined) found['NODE_NAME'] = env['NODE_NAME'];
  return found;
}

function jsonOf(name: string, text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw invalid(name, 'expected JSON', text);
  }
}

function localityOf({ locality }: NodeOptions, workload: Workload): NodeLocality | undefined {
  if (locality !== undefined) {
    return { region: locality.region ?? '', zone: locality.zone ?? '', sub_zone: locality.subZone ?? '' };
  }
  const [region = '', zone = '', sub_zone = ''] = localityOfWorkload(workload).split('/');
  return region === '' ? undefined : { region, zone, sub_zone };
}
