import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { MeshError } from 'inmesh/identity';
import type { Any } from './proto/any.ts';

/** Types of resources, in the order in which a snapshot needs them. */
export const resourceTypes = ['listeners', 'routes', 'clusters', 'endpoints'] as const;
export type ResourceType = (typeof resourceTypes)[number];

/** Full names of the messages. */
export const messageNames: Readonly<Record<ResourceType, string>> = {
  listeners: 'envoy.config.listener.v3.Listener',
  routes: 'envoy.config.route.v3.RouteConfiguration',
  clusters: 'envoy.config.cluster.v3.Cluster',
  endpoints: 'envoy.config.endpoint.v3.ClusterLoadAssignment',
};

/**
 * What a control plane said last that can be used, by the names of the resources. An `Any` is the
 * same object as long as its bytes are the same: what was made of it can be kept by its identity.
 */
export type ResourceSet = { readonly [T in ResourceType]: ReadonlyMap<string, Any> };

/** Names of resources that others mention, and that a snapshot is not complete without. */
export interface Wanted {
  readonly routes: ReadonlySet<string>;
  readonly clusters: ReadonlySet<string>;
  readonly endpoints: ReadonlySet<string>;
}

/** One reason why a resource is refused. The control plane is told; the last good version of the resource stays. */
export interface ResourceProblem {
  readonly type: ResourceType;
  /** Name of the resource; '' where the bytes do not even have that. */
  readonly resource: string;
  /** Path of the field as in the `.proto` files: `filter_chains[0].filters[1].typed_config`; '' for the whole. */
  readonly field: string;
  /** What is there, shortened; never a key or a password. */
  readonly value?: string;
  /** What is wrong with it. */
  readonly message: string;
  /** Valid for Envoy, and refused nevertheless: the mesh would be less secure than its configuration. */
  readonly unenforceable?: true;
  /** A listener that says what callers of this process must be, or may say it. */
  readonly forCallers?: true;
}

/** Thrown by those who read a resource; becomes a {@link ResourceProblem}. */
export class ResourceError extends MeshError {
  readonly field: string;
  readonly value: string | undefined;
  readonly unenforceable: boolean;
  /** See {@link ResourceProblem}. */
  forCallers = false;

  /** @param about `value` is shown as JSON, shortened */
  constructor(field: string, message: string, about: { readonly value?: unknown; readonly unenforceable?: true } = {}) {
    super('ERR_MESH_CONFIG_INVALID', field === '' ? message : `${field}: ${message}`);
    this.field = field;
    this.reason = message;
    this.value = about.value === undefined ? undefined : shown(about.value);
    this.unenforceable = about.unenforceable === true;
  }

  /** The message without the field. */
  readonly reason: string;
}

/** The problem that an error of reading is; any other error than {@link ResourceError} is told as it is. */
export function problemOf(type: ResourceType, resource: string, error: unknown): ResourceProblem {
  if (!(error instanceof ResourceError)) {
    return { type, resource, field: '', message: error instanceof Error ? error.message : String(error) };
  }
  const { field, forCallers, reason, unenforceable, value } = error;
  return {
    type,
    resource,
    field,
    message: reason,
    ...(value === undefined ? {} : { value }),
    ...(unenforceable ? { unenforceable } : {}),
    ...(forCallers ? { forCallers } : {}),
  };
}

/** For people and for the control plane: `Cluster outbound|80||a: lb_policy: expected …, got "X"`. */
export function describeResourceProblem({ field, message, resource, type, value }: ResourceProblem): string {
  const place = field === '' ? '' : ` ${field}:`;
  return `${kindOf(type)} ${JSON.stringify(resource)}:${place} ${message}${value === undefined ? '' : `, got ${value}`}`;
}

/** `Cluster`, as resources are called where people read of them. */
export function kindOf(type: ResourceType): string {
  return messageNames[type].slice(messageNames[type].lastIndexOf('.') + 1);
}

/** Name of a resource without reading the rest: the first field of all four types. */
export function nameOf({ value = new Uint8Array() }: Any): string {
  const reader = new BinaryReader(value);
  let name = '';
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.LengthDelimited) name = reader.string();
    else if (name !== '') return name;
    else reader.skip(type, number);
  }
  return name;
}

function shown(value: unknown): string {
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
