import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { describePlace, describeResource } from './problem.ts';
import { byAge, type Resource } from './resource.ts';
import { selects } from './values.ts';

export interface ProxyConfigBody {
  readonly spec?: { readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> } };
}

/**
 * Reports what cannot be meant: Istio allows one ProxyConfig for each namespace, and one for each
 * workload; the oldest counts.
 */
export function reportProxyConfigs(
  resources: readonly Resource[],
  workload: Workload,
  { rootNamespace }: MeshSettings,
  collector: Collector,
): void {
  const selectorOf = (each: Resource<ProxyConfigBody>) => each.body.spec?.selector;
  const configs = resources
    .filter((each): each is Resource<ProxyConfigBody> => each.kind === 'ProxyConfig')
    .sort(byAge);
  const firsts = new Map<string, Resource>();
  for (const each of configs) {
    const selector = selectorOf(each);
    const here = each.namespace === workload.namespace || each.namespace === rootNamespace;
    if (!here || (selector !== undefined && !selects(selector.matchLabels ?? {}, workload.labels))) continue;
    const level = `${selector === undefined} ${each.namespace}`;
    const first = firsts.get(level);
    if (first === undefined) firsts.set(level, each);
    else {
      const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
      collector.warn(each, ['spec'], 'ignored', `${winner} is older and counts instead`);
    }
  }
}
