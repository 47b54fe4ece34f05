import type { Snapshot } from 'inmesh/model';
import type { ResourceSet } from '../resources.ts';
import type { CompileContext, CompiledSide } from './compile.ts';
import { outboundClusters } from './outbound-clusters.ts';
import { type OutboundHosts, outboundHosts } from './outbound-hosts.ts';

/** What this process calls: hosts, clusters, and what happens to others. */
export type Outbound = Pick<Snapshot, 'hosts' | 'wildcardHosts' | 'clusters' | 'outboundPolicy'>;

/** Outbound listeners, route configurations, clusters and endpoints as hosts and clusters of the model. */
export function compileOutbound(set: ResourceSet, context: CompileContext): CompiledSide<Outbound> {
  const hosts = outboundHosts(set, context);
  const { clusters, endpoints, entries, members, problems } = outboundClusters(set, context, hosts);
  return {
    result: {
      hosts: hosts.hosts,
      wildcardHosts: hosts.wildcardHosts,
      clusters,
      outboundPolicy: hosts.outboundPolicy,
    },
    entries: [...hosts.entries, ...entries],
    problems,
    wanted: { routes: hosts.routes, clusters: wantedClusters(hosts, members, context), endpoints },
  };
}

/** With istiod all clusters come unasked; gRPC asks for those to which its routes lead. */
function wantedClusters(
  { httpClusters }: OutboundHosts,
  members: ReadonlySet<string>,
  { profile }: CompileContext,
): ReadonlySet<string> {
  if (profile === 'istio') return new Set();
  return members.size === 0 ? httpClusters : new Set([...httpClusters, ...members]);
}
