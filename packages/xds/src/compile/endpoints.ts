import { isIP } from 'node:net';
import type { Endpoint, LocalityWeight } from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import type { Address } from '../proto/envoy/address.ts';
import type { Locality, Metadata } from '../proto/envoy/base.ts';
import {
  type ClusterLoadAssignment,
  clusterLoadAssignmentSchema,
  type Endpoint as EndpointMessage,
  type LbEndpoint,
  type LocalityLbEndpoints,
} from '../proto/envoy/endpoint.ts';
import type { JsonObject } from '../proto/struct.ts';
import { ResourceError } from '../resources.ts';
import { percentOf } from './outbound-matchers.ts';
import { createRemarks, type Remark, type Remarks } from './outbound-remarks.ts';
import { type Read, readerOf } from './reader.ts';

/** An endpoint, before its cluster says how it is spoken to. */
export type ReadEndpoint = Omit<Endpoint, 'speaksMtls'> & {
  /** `envoy.transport_socket_match` of its metadata. */
  readonly socket: JsonObject | undefined;
};

/** Endpoints of one service that can be used. */
export interface ReadEndpoints {
  readonly name: string;
  readonly endpoints: readonly ReadEndpoint[];
  /** Weights of the localities that have some, in order. */
  readonly weights: readonly LocalityWeight[];
  readonly remarks: readonly Remark[];
}

/** Reads endpoints. @throws ResourceError for some that cannot be used */
export const readEndpoints: (any: Any) => Read<ReadEndpoints> = readerOf(
  'endpoints',
  clusterLoadAssignmentSchema,
  (message) => loadAssignmentOf(message, ''),
);

const maxPriority = 128;
const envoyOverprovisioning = 140;

/** @param path of the assignment, where it is part of a cluster */
export function loadAssignmentOf(message: ClusterLoadAssignment, path: string): ReadEndpoints {
  const remarks = createRemarks();
  const at = path === '' ? '' : `${path}.`;
  const { policy } = message;
  const factor = policy?.overprovisioning_factor;
  if (factor !== undefined && factor !== envoyOverprovisioning) {
    remarks.approximated(`${at}policy.overprovisioning_factor`, `it is ${envoyOverprovisioning}`);
  }
  for (const [index, { category, drop_percentage: share }] of (policy?.drop_overloads ?? []).entries()) {
    const field = `${at}policy.drop_overloads[${index}]`;
    if (percentOf(share, `${field}.drop_percentage`) > 0)
      remarks.ignored(field, `no calls are dropped for ${category}`);
  }
  const endpoints: ReadEndpoint[] = [];
  const weights: LocalityWeight[] = [];
  for (const [index, group] of message.endpoints.entries()) {
    addGroup(group, message, `${at}endpoints[${index}]`, { endpoints, weights, remarks });
  }
  return { name: message.cluster_name, endpoints, weights, remarks: remarks.all };
}

interface Found {
  readonly endpoints: ReadEndpoint[];
  readonly weights: LocalityWeight[];
  readonly remarks: Remarks;
}

function addGroup(group: LocalityLbEndpoints, message: ClusterLoadAssignment, path: string, found: Found): void {
  const { load_balancing_weight: weight, priority } = group;
  if (priority > maxPriority) {
    throw new ResourceError(`${path}.priority`, `expected at most ${maxPriority}`, { value: priority });
  }
  const locality = localityText(group.locality);
  if (weight !== undefined && weight > 0) found.weights.push({ priority, locality, weight });
  const list = group.load_balancer_endpoints?.lb_endpoints ?? group.lb_endpoints;
  const degraded: ReadEndpoint[] = [];
  const before = found.endpoints.length;
  for (const [index, each] of list.entries()) {
    const at = `${path}.lb_endpoints[${index}]`;
    const { health_status: health } = each;
    const isUsed = health === 'UNKNOWN' || health === 'HEALTHY' || health === 'DEGRADED';
    const read = readEndpoint(each, message, locality, priority, at, found.remarks);
    if (read === undefined || !isUsed) continue;
    (health === 'DEGRADED' ? degraded : found.endpoints).push(read);
  }
  if (degraded.length === 0) return;
  found.remarks.approximated(path, 'degraded endpoints are called where their locality has no others');
  if (found.endpoints.length === before) found.endpoints.push(...degraded);
}

/** `region/zone/subzone` without what is missing at its end. */
function localityText(locality: Locality | undefined): string {
  if (locality === undefined) return '';
  const parts = [locality.region, locality.zone, locality.sub_zone];
  while (parts.at(-1) === '') parts.pop();
  return parts.join('/');
}

function readEndpoint(
  message: LbEndpoint,
  { named_endpoints: named }: ClusterLoadAssignment,
  locality: string,
  priority: number,
  path: string,
  remarks: Remarks,
): ReadEndpoint | undefined {
  const endpoint =
    message.endpoint ?? (message.endpoint_name === undefined ? undefined : named.get(message.endpoint_name));
  if (endpoint === undefined)
    throw new ResourceError(`${path}.endpoint`, 'is missing', { value: message.endpoint_name });
  const place = placeOf(endpoint.address, `${path}.endpoint.address`, remarks);
  if (place === undefined) return undefined;
  noteParts(endpoint, `${path}.endpoint`, remarks);
  const weight = message.load_balancing_weight ?? 1;
  if (weight < 1) throw new ResourceError(`${path}.load_balancing_weight`, 'expected at least 1', { value: weight });
  const { labels, workload } = workloadOf(message.metadata);
  return {
    ...place,
    weight,
    labels,
    locality,
    ...(priority === 0 ? {} : { priority }),
    workload,
    socket: message.metadata?.filter_metadata.get('envoy.transport_socket_match'),
  };
}

function noteParts(endpoint: EndpointMessage, path: string, remarks: Remarks): void {
  if (endpoint.additional_addresses.length > 0) {
    remarks.ignored(`${path}.additional_addresses`, 'the first address is called');
  }
  const port = endpoint.health_check_config?.port_value;
  if (port !== undefined && port !== 0) {
    remarks.ignored(`${path}.health_check_config.port_value`, 'the port to ask is that of the cluster (alt_port)');
  }
}

/** Nothing for an address that only means something inside of Envoy. */
function placeOf(
  address: Address | undefined,
  path: string,
  remarks: Remarks,
): { readonly address: string; readonly port: number } | undefined {
  const { envoy_internal_address: internal, pipe, socket_address: socket } = address ?? {};
  if (socket !== undefined) {
    const { port_value: port } = socket;
    if (socket.protocol !== 'TCP') {
      throw new ResourceError(`${path}.socket_address.protocol`, 'expected TCP', { value: socket.protocol });
    }
    if (port === undefined || port < 1 || port > 65_535) {
      throw new ResourceError(`${path}.socket_address.port_value`, 'expected a port', { value: port });
    }
    if (isIP(socket.address) === 0 && !/^[a-zA-Z0-9_]([a-zA-Z0-9._-]{0,252})$/.test(socket.address)) {
      throw new ResourceError(`${path}.socket_address.address`, 'expected an IP address or a name', {
        value: socket.address,
      });
    }
    return { address: socket.address, port };
  }
  if (pipe !== undefined) {
    if (!pipe.path.startsWith('/')) {
      throw new ResourceError(`${path}.pipe.path`, 'expected a path that begins with /', { value: pipe.path });
    }
    return { address: `unix://${pipe.path}`, port: 0 };
  }
  if (internal !== undefined) {
    remarks.ignored(`${path}.envoy_internal_address`, 'it leads through a listener inside of Envoy: not called');
    return undefined;
  }
  throw new ResourceError(path, 'needs one of socket_address and pipe');
}

const noLabels: Readonly<Record<string, string>> = {};

/** Istio writes `name;namespace;canonical name;canonical revision;cluster`. */
function workloadOf(metadata: Metadata | undefined): Pick<Endpoint, 'labels' | 'workload'> {
  const text = metadata?.filter_metadata.get('istio')?.['workload'];
  if (typeof text !== 'string') return { labels: noLabels, workload: '' };
  const [workload = '', , name = '', revision = ''] = text.split(';');
  if (name === '' && revision === '') return { labels: noLabels, workload };
  return {
    workload,
    labels: {
      ...(name === '' ? {} : { 'service.istio.io/canonical-name': name }),
      ...(revision === '' ? {} : { 'service.istio.io/canonical-revision': revision }),
    },
  };
}
