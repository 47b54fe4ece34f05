import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { compileRules, type RuleSpec } from './istio-authorization-policy.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { type Resource, resolveHost } from './resource.ts';
import { validateRules } from './validate-authorization-policy.ts';
import { selects } from './values.ts';

export interface EgressPolicyBody {
  readonly spec: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly action?: 'ALLOW' | 'DENY';
    readonly rules?: readonly RuleSpec[];
  };
}

const dryRun = 'istio.io/dry-run';
const trueWords = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);

/** Compiles one policy, also one for other workloads: a mistake in it is a mistake of the folder. */
export function compileEgressPolicy(
  resource: Resource<EgressPolicyBody>,
  workload: Workload,
  mesh: MeshSettings,
  collector: Collector,
): AuthorizationPolicy | undefined {
  const { action = 'ALLOW', rules: specs = [], selector } = resource.body.spec;
  const path = ['spec', 'rules'];
  if (action === 'DENY' && specs.length === 0) {
    collector.problem(resource, ['spec'], 'needs rules for the action DENY: without any it never applies');
  }
  validateRules(specs as Parameters<typeof validateRules>[0], action, resource, path, collector);
  const named = specs.map((rule) => withFullNames(rule, resource.namespace, workload.clusterDomain));
  const rules = compileRules(named, { resource, workload, mesh, collector, action }, path);
  const triedOut = trueWords.has(resource.annotations[dryRun] ?? '');
  if (triedOut) {
    const note = 'dry run: what this policy would decide is logged and counted, and not enforced';
    collector.warn(resource, ['metadata', 'annotations', dryRun], 'ignored', note);
  }
  if (resource.namespace !== mesh.rootNamespace && resource.namespace !== workload.namespace) return undefined;
  if (!selects(selector?.matchLabels ?? {}, workload.labels)) return undefined;
  return { action, rules, provenance: collector.at(resource, ['kind'], true), ...(triedOut ? { dryRun: true } : {}) };
}

/** As in a DestinationRule: a name without dots is that of a service in the namespace of the policy. */
function withFullNames(rule: RuleSpec, namespace: string, clusterDomain: string): RuleSpec {
  const full = (host: string): string => {
    if (host.includes('*')) return host;
    const [name = '', port] = host.split(':');
    const isName = host.startsWith('[') || host.split(':').length > 2;
    return isName ? host : `${resolveHost(name, namespace, clusterDomain)}${port === undefined ? '' : `:${port}`}`;
  };
  return {
    ...rule,
    to: (rule.to ?? []).map(({ operation }) => {
      const { hosts, notHosts } = operation;
      return {
        operation: {
          ...operation,
          ...(hosts === undefined ? {} : { hosts: hosts.map(full) }),
          ...(notHosts === undefined ? {} : { notHosts: notHosts.map(full) }),
        },
      };
    }),
  };
}
