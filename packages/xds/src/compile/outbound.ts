import type { Snapshot } from 'inmesh/model';
import type { ResourceSet } from '../resources.ts';
import type { CompileContext, CompiledSide } from './compile.ts';

/** What this process calls: hosts, clusters, and what happens to others. */
export type Outbound = Pick<Snapshot, 'hosts' | 'wildcardHosts' | 'clusters' | 'outboundPolicy'>;

/** Outbound listeners, route configurations, clusters and endpoints as hosts and clusters of the model. */
export function compileOutbound(_set: ResourceSet, _context: CompileContext): CompiledSide<Outbound> {
  return {
    result: { hosts: new Map(), wildcardHosts: [], clusters: new Map(), outboundPolicy: 'ALLOW_ANY' },
    entries: [],
    problems: [],
    wanted: {},
  };
}
