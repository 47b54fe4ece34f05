import type { EnforcementEntry, EnforcementReport } from 'inmesh/config';
import type { Snapshot, Workload } from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import type { ResourceProblem, ResourceSet, ResourceType, Wanted } from '../resources.ts';
import type { Steps } from '../turns.ts';
import { readCluster } from './cluster.ts';
import { readEndpoints } from './endpoints.ts';
import { compileInbound } from './inbound.ts';
import { readListener } from './listener.ts';
import { compileOutbound } from './outbound.ts';
import { clusterSteps } from './outbound-clusters.ts';
import { outboundHosts } from './outbound-hosts.ts';
import { readRoute } from './route.ts';

/**
 * How resources are named and what is asked for. `istio`: all that istiod has for a sidecar.
 * `grpc`: the listeners of the services that are asked for, and what they lead to.
 */
export type XdsProfile = 'istio' | 'grpc';

/** What compiling depends on beside the resources; the same object as long as nothing of it changes. */
export interface CompileContext {
  /** The process that the snapshot is for. */
  readonly workload: Workload;
  readonly profile: XdsProfile;
  /** Profile `grpc`: services that are called, `host:port`, each the name of a listener. */
  readonly services: readonly string[];
  /** Profile `grpc`: names of the listeners for what this process serves. */
  readonly serverListeners: readonly string[];
  /** IP addresses of this process, as the control plane knows them. */
  readonly addresses: readonly string[];
}

/** A snapshot of what can be used of some resources. */
export interface Compiled {
  readonly snapshot: Snapshot;
  readonly report: EnforcementReport;
  /** What does not fit together, although each resource can be read. */
  readonly problems: readonly ResourceProblem[];
  /** What callers have to be cannot be told: the snapshot lets nobody in, and what was in force before is better. */
  readonly inboundRefused?: true;
  /** What the resources mention, and must be there before the snapshot is used. */
  readonly wanted: Wanted;
}

/** What one side of the compiler makes of the resources. */
export interface CompiledSide<T> {
  readonly result: T;
  readonly entries: readonly EnforcementEntry[];
  readonly problems: readonly ResourceProblem[];
  /** See {@link Compiled.inboundRefused}. */
  readonly refused?: true;
  readonly wanted: Partial<Wanted>;
}

/** Checks one resource by itself. @throws ResourceError for one that cannot be used */
export const readers: Readonly<Record<ResourceType, (any: Any) => unknown>> = {
  listeners: readListener,
  routes: readRoute,
  clusters: readCluster,
  endpoints: readEndpoints,
};

/**
 * Makes a snapshot of resources, all of which can be read. Pure; work follows what changed, since
 * what is made of an `Any` is kept with it.
 *
 * @param version of the snapshot
 */
export function compileResources(set: ResourceSet, context: CompileContext, version: string): Compiled {
  const outbound = compileOutbound(set, context);
  const inbound = compileInbound(set, context);
  return {
    snapshot: { version, ...outbound.result, ...inbound.result },
    report: { entries: [...outbound.entries, ...inbound.entries] },
    problems: [...outbound.problems, ...inbound.problems],
    ...(inbound.refused === undefined ? {} : { inboundRefused: true }),
    wanted: {
      routes: union(outbound.wanted.routes, inbound.wanted.routes),
      clusters: union(outbound.wanted.clusters, inbound.wanted.clusters),
      endpoints: union(outbound.wanted.endpoints, inbound.wanted.endpoints),
    },
  };
}

/**
 * Does most of what {@link compileResources} does in steps, and keeps it: compiling the same resources afterwards
 * costs little.
 */
export function* prepareResources(set: ResourceSet, context: CompileContext): Steps<void> {
  const hosts = outboundHosts(set, context);
  yield;
  yield* clusterSteps(set, context, hosts);
  compileInbound(set, context);
}

/** {@link readers} that read in steps; `before`: the version that is in use. */
export const stepReaders: Partial<Readonly<Record<ResourceType, (any: Any, before: Any | undefined) => Steps<void>>>> =
  {
    endpoints: readEndpoints.steps,
    listeners: readListener.steps,
  };

function union(a: ReadonlySet<string> = new Set(), b: ReadonlySet<string> = new Set()): ReadonlySet<string> {
  return b.size === 0 ? a : a.size === 0 ? b : new Set([...a, ...b]);
}
