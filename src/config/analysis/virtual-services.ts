import { isForMesh, type VirtualServiceBody } from '../istio-virtual-service.ts';
import { describeResource } from '../problem.ts';
import type { Resource } from '../resource.ts';
import { resolveHost } from '../resource.ts';
import { findUnusedRules } from '../unused-rules.ts';
import type { Analyzer } from './context.ts';

/** Several VirtualServices for one host of the mesh: only one of them counts. */
export const analyzeConflictingHosts: Analyzer = (context) => {
  const owners = new Map<string, Resource[]>();
  for (const resource of context.ofKind<VirtualServiceBody>('VirtualService')) {
    if (!isForMesh(resource)) continue;
    const { hosts = [], exportTo = [] } = resource.body.spec;
    const scopes = exportTo.length === 0 ? ['*'] : exportTo.map((to) => (to === '.' ? resource.namespace : to));
    for (const host of new Set(hosts)) {
      const full = resolveHost(host, resource.namespace, context.workload.clusterDomain);
      for (const scope of new Set(scopes)) {
        const key = `${scope} ${full}`;
        const list = owners.get(key);
        if (list === undefined) owners.set(key, [resource]);
        else list.push(resource);
      }
    }
  }
  for (const [key, list] of owners) {
    if (list.length < 2) continue;
    for (const resource of list) {
      const others = list.filter((each) => each !== resource).map(describeResource);
      const host = key.slice(key.indexOf(' ') + 1);
      const hosts = (resource.body as VirtualServiceBody).spec.hosts ?? [];
      const index = hosts.findIndex(
        (each) => resolveHost(each, resource.namespace, context.workload.clusterDomain) === host,
      );
      const message = `${others.join(' and ')} ${others.length === 1 ? 'is' : 'are'} for the host ${host} too, and only one can count`;
      context.report('IST0109', resource, ['spec', 'hosts', index], message);
    }
  }
};

/** Rules and conditions behind others that take all their requests. */
export const analyzeUnreachableRules: Analyzer = (context) => {
  for (const resource of context.ofKind<VirtualServiceBody>('VirtualService')) {
    for (const { path, reason } of findUnusedRules(resource.body.spec)) {
      const code = path.length === 2 ? 'IST0130' : 'IST0131';
      context.report(code, resource, ['spec', ...path], `is never reached: ${reason}`);
    }
  }
};
