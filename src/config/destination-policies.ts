import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { hostMatches, specificity } from './destination-rules.ts';
import { isWildcardDomain } from './host-syntax.ts';
import { describeResource } from './problem.ts';
import { byAge, type Resource, resolveHost } from './resource.ts';
import type { MeshService } from './service.ts';

/** What resources of our own kinds that are for a destination have in common. */
export interface DestinationPolicyBody {
  readonly spec: {
    readonly host: string;
    readonly port?: number;
    readonly subset?: string;
  };
}

/** Resources of one kind, each for a destination. */
export interface DestinationPolicies<Body extends DestinationPolicyBody> {
  /** The one that counts for this service, port and subset. */
  find(
    service: { readonly host: string; readonly namespace: string },
    port: number,
    subset: string,
  ): Resource<Body> | undefined;
}

/**
 * Which resource counts for a destination: in the order of a DestinationRule's namespaces (that of
 * the caller, that of the service, the root namespace); in each of them the one with the most
 * specific host, then one for the subset, then one for the port, then the oldest.
 */
export function createDestinationPolicies<Body extends DestinationPolicyBody>(
  resources: readonly Resource<Body>[],
  options: {
    readonly workload: Workload;
    readonly rootNamespace: string;
    readonly services: readonly MeshService[];
    readonly collector: Collector;
  },
): DestinationPolicies<Body> {
  const { collector, rootNamespace, services, workload } = options;
  const byNamespace = new Map<string, Entry<Body>[]>();
  const firsts = new Map<string, Resource>();
  const known = resources.length === 0 ? undefined : new Set(services.map(({ host }) => host));
  for (const resource of [...resources].sort(byAge)) {
    const { host: name, port, subset } = resource.body.spec;
    if (!isWildcardDomain(name)) {
      collector.problem(resource, ['spec', 'host'], 'must be a host name, * or *.<domain>', name);
      continue;
    }
    const host = resolveHost(name, resource.namespace, workload.clusterDomain);
    const target = `${resource.namespace}/${host}/${port ?? ''}/${subset ?? ''}`;
    const first = firsts.get(target);
    if (first !== undefined) {
      collector.warn(resource, ['spec'], 'ignored', `${describeResource(first)} is older and counts instead`);
      continue;
    }
    firsts.set(target, resource);
    if (!host.startsWith('*') && known?.has(host) === false) {
      collector.warn(resource, ['spec', 'host'], 'enforced', `no service has the host ${host}`);
    }
    const list = byNamespace.get(resource.namespace);
    if (list === undefined) byNamespace.set(resource.namespace, [{ host, resource }]);
    else list.push({ host, resource });
  }
  // Stable: older ones stay first among equals.
  for (const list of byNamespace.values()) list.sort((a, b) => rank(b) - rank(a));

  return {
    find({ host, namespace }, port, subset) {
      for (const each of new Set([workload.namespace, namespace, rootNamespace])) {
        const found = byNamespace.get(each)?.find(({ host: pattern, resource: { body } }) => {
          const { spec } = body;
          return (
            (spec.port === undefined || spec.port === port) &&
            (spec.subset === undefined || spec.subset === subset) &&
            hostMatches(pattern, host)
          );
        });
        if (found !== undefined) return found.resource;
      }
      return undefined;
    },
  };
}

interface Entry<Body extends DestinationPolicyBody> {
  readonly host: string;
  readonly resource: Resource<Body>;
}

/** The higher, the more specific: host (a name has at most 255 characters), then subset, then port. */
function rank<Body extends DestinationPolicyBody>({ host, resource: { body } }: Entry<Body>): number {
  const { port, subset } = body.spec;
  return Math.min(specificity(host), 1_000) * 4 + (subset === undefined ? 0 : 2) + (port === undefined ? 0 : 1);
}
