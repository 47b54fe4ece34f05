import { isIP } from 'node:net';
import type { DropOverload, Endpoint, LocalityWeight } from 'inmesh/model';
import type { Address } from '../proto/envoy/address.ts';
import type { Locality, Metadata } from '../proto/envoy/base.ts';
import {
  type ClusterLoadAssignment,
  type Endpoint as EndpointMessage,
  type LbEndpoint,
  type LocalityLbEndpoints,
  lbEndpointSchema,
  unreadLoadAssignmentSchema,
} from '../proto/envoy/endpoint.ts';
import { decode } from '../proto/schema.ts';
import type { JsonObject } from '../proto/struct.ts';
import { ResourceError } from '../resources.ts';
import { createParts, type EndpointPart, type EndpointParts, type EndpointPlace } from './endpoint-parts.ts';
import { percentOf } from './outbound-matchers.ts';
import { createRemarks, type Remark, type Remarks } from './outbound-remarks.ts';
import { type StepReader, stepReaderOf } from './reader.ts';

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
  /** Calls that are not to be sent. */
  readonly drops: readonly DropOverload[];
  readonly remarks: readonly Remark[];
  /** What was read of which bytes, for the next version; absent where they are part of a cluster. */
  readonly parts?: EndpointParts;
}

/**
 * Reads endpoints. Of a version that has the bytes of an endpoint of the one before it that endpoint is the same
 * object: what was made of it can be kept by its identity.
 *
 * @throws ResourceError for some that cannot be used
 */
export const readEndpoints: StepReader<ReadEndpoints> = stepReaderOf('endpoints', function* (any, note, before) {
  const bytes = any.value ?? new Uint8Array();
  const message = decode(unreadLoadAssignmentSchema, bytes, note);
  const parts = createParts(bytes, listsOf(message).flat(), before?.parts);
  const found = startOf(message, '');
  for (const [index, group] of message.endpoints.entries()) {
    const path = `endpoints[${index}]`;
    const place = groupOf(group, path, found);
    const degraded: ReadEndpoint[] = [];
    const start = found.endpoints.length;
    for (const [i, each] of listOf(group).entries()) {
      const at = `${path}.lb_endpoints[${i}]`;
      const read = parts.next(place, () => {
        const ignored: string[] = [];
        const told = decode(lbEndpointSchema, each, (field) => void ignored.push(`${at}.${field}`));
        const remarks = found.remarks.all.length;
        const part = partOf(told, message, place, at, found.remarks);
        // Remarks tell where it stands, and a name leads to another part of the message.
        const clean = told.endpoint_name === undefined && found.remarks.all.length === remarks;
        return { part: ignored.length === 0 ? part : { ...part, ignored }, clean };
      });
      for (const field of read.ignored ?? []) note(field);
      if (read.use === 'yes') found.endpoints.push(read.endpoint);
      else if (read.use === 'degraded') degraded.push(read.endpoint);
      if ((i & 31) === 31) yield;
    }
    addDegraded(degraded, start, path, found);
    yield;
  }
  return { ...endOf(message, found), parts: parts.all() };
});

const maxPriority = 128;
const envoyOverprovisioning = 140;

/** Those of a cluster that has them in it. @param path of the assignment */
export function loadAssignmentOf(message: ClusterLoadAssignment, path: string): ReadEndpoints {
  const found = startOf(message, `${path}.`);
  for (const [index, group] of message.endpoints.entries()) {
    const at = `${path}.endpoints[${index}]`;
    const place = groupOf(group, at, found);
    const degraded: ReadEndpoint[] = [];
    const start = found.endpoints.length;
    for (const [i, each] of listOf(group).entries()) {
      const read = partOf(each, message, place, `${at}.lb_endpoints[${i}]`, found.remarks);
      if (read.use === 'yes') found.endpoints.push(read.endpoint);
      else if (read.use === 'degraded') degraded.push(read.endpoint);
    }
    addDegraded(degraded, start, at, found);
  }
  return endOf(message, found);
}

interface Found {
  readonly endpoints: ReadEndpoint[];
  readonly weights: LocalityWeight[];
  readonly drops: DropOverload[];
  readonly remarks: Remarks;
}

/** @param at path of the assignment with a dot behind it, or '' */
function startOf({ policy }: Pick<ClusterLoadAssignment, 'policy'>, at: string): Found {
  const remarks = createRemarks();
  const factor = policy?.overprovisioning_factor;
  if (factor !== undefined && factor !== envoyOverprovisioning) {
    remarks.approximated(`${at}policy.overprovisioning_factor`, `it is ${envoyOverprovisioning}`);
  }
  const drops: DropOverload[] = [];
  for (const [index, { category, drop_percentage: share }] of (policy?.drop_overloads ?? []).entries()) {
    const percent = percentOf(share, `${at}policy.drop_overloads[${index}].drop_percentage`);
    if (percent > 0) drops.push({ category, percent });
  }
  return { endpoints: [], weights: [], drops, remarks };
}

function endOf(
  { cluster_name: name }: Pick<ClusterLoadAssignment, 'cluster_name'>,
  { drops, endpoints, remarks, weights }: Found,
): ReadEndpoints {
  return { name, endpoints, weights, drops, remarks: remarks.all };
}

function listsOf<E>({ endpoints }: ClusterLoadAssignment<E>): readonly (readonly E[])[] {
  return endpoints.map(listOf);
}

function listOf<E>({ lb_endpoints: plain, load_balancer_endpoints: list }: LocalityLbEndpoints<E>): readonly E[] {
  return list?.lb_endpoints ?? plain;
}

function groupOf<E>(group: LocalityLbEndpoints<E>, path: string, { weights }: Found): EndpointPlace {
  const { load_balancing_weight: weight, priority } = group;
  if (priority > maxPriority) {
    throw new ResourceError(`${path}.priority`, `expected at most ${maxPriority}`, { value: priority });
  }
  const locality = localityText(group.locality);
  if (weight !== undefined && weight > 0) weights.push({ priority, locality, weight });
  return { locality, priority };
}

/** @param start how many endpoints there were before those of this locality */
function addDegraded(
  degraded: readonly ReadEndpoint[],
  start: number,
  path: string,
  { endpoints, remarks }: Found,
): void {
  if (degraded.length === 0) return;
  remarks.approximated(path, 'degraded endpoints are called where their locality has no others');
  if (endpoints.length === start) endpoints.push(...degraded);
}

function partOf(
  message: LbEndpoint,
  assignment: Pick<ClusterLoadAssignment, 'named_endpoints'>,
  place: EndpointPlace,
  path: string,
  remarks: Remarks,
): EndpointPart {
  const { health_status: health } = message;
  const endpoint = readEndpoint(message, assignment, place, path, remarks);
  if (endpoint === undefined) return unused;
  if (health === 'UNKNOWN' || health === 'HEALTHY') return { use: 'yes', endpoint };
  return health === 'DEGRADED' ? { use: 'degraded', endpoint } : unused;
}

const unused: EndpointPart = { use: 'no' };

/** `region/zone/subzone` without what is missing at its end. */
function localityText(locality: Locality | undefined): string {
  if (locality === undefined) return '';
  const parts = [locality.region, locality.zone, locality.sub_zone];
  while (parts.at(-1) === '') parts.pop();
  return parts.join('/');
}

function readEndpoint(
  message: LbEndpoint,
  { named_endpoints: named }: Pick<ClusterLoadAssignment, 'named_endpoints'>,
  { locality, priority }: EndpointPlace,
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
