import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { AuthorizationPolicyBody } from './istio-authorization-policy.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import { selects } from './values.ts';
import { parseYaml } from './yaml.ts';

export const proxyConfigAnnotation = 'proxy.istio.io/config';

/** Istio's `gatewayTopology`, as far as it has an effect. */
export interface GatewayTopologySpec {
  readonly numTrustedProxies?: number;
}

/**
 * How many proxies in front of this workload are trusted with `x-forwarded-for`: what the annotation
 * `proxy.istio.io/config` of its own pods says, else the MeshConfig. The own pods are those that have
 * all labels of the workload. Where they disagree the lowest number counts: then the address is one
 * that a nearer proxy has seen.
 */
export function trustedProxies(
  resources: readonly Resource[],
  { labels, namespace }: Workload,
  mesh: MeshSettings,
  collector: Collector,
): number {
  let lowest: number | undefined;
  for (const each of resources) {
    if (!Object.hasOwn(each.annotations, proxyConfigAnnotation)) continue;
    const path = ['metadata', 'annotations', proxyConfigAnnotation];
    const isOwn = each.kind === 'Pod' && each.namespace === namespace && Object.keys(labels).length > 0;
    if (!isOwn || !selects(labels, each.labels)) {
      collector.warn(each, path, 'ignored', 'configures the proxy, and there is none');
      continue;
    }
    const number = numberIn(each, path, collector);
    const what = 'of it only gatewayTopology.numTrustedProxies has an effect';
    collector.warn(each, path, number === undefined ? 'ignored' : 'approximated', what);
    if (number === undefined) continue;
    if (lowest !== undefined && lowest !== number) {
      collector.warn(each, path, 'approximated', `pods of this workload disagree: ${lowest} and ${number} proxies`);
    }
    lowest = Math.min(lowest ?? number, number);
  }
  return lowest ?? mesh.numTrustedProxies ?? 0;
}

/** Nothing where the annotation says nothing of it. */
function numberIn(pod: Resource, path: readonly string[], collector: Collector): number | undefined {
  const text = pod.annotations[proxyConfigAnnotation] ?? '';
  const { documents, problems } = parseYaml(text);
  const value = documents[0]?.value;
  if (problems.length > 0 || documents.length > 1) {
    collector.problem(pod, path, 'must be a ProxyConfig in YAML, because it says which proxies are trusted', text);
    return undefined;
  }
  const topology = member(value, 'gatewayTopology') ?? member(value, 'gateway_topology');
  const number = member(topology, 'numTrustedProxies') ?? member(topology, 'num_trusted_proxies');
  if (number === undefined || number === null) return undefined;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= maxProxies) return number;
  collector.problem(pod, path, `must have a number from 0 to ${maxProxies} as numTrustedProxies`, number);
  return undefined;
}

/** Of `uint32`, as in Istio's API. */
export const maxProxies = 4_294_967_295;

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

/** Says of policies for this workload that ask for the remote address where no proxy is trusted to tell it. */
export function warnOfUntrusted(policies: readonly Resource<AuthorizationPolicyBody>[], collector: Collector): void {
  const note =
    'no proxy is trusted to tell the address (gatewayTopology.numTrustedProxies): the peer of the connection counts';
  for (const policy of policies) {
    for (const [index, { from = [], when = [] }] of (policy.body.spec?.rules ?? []).entries()) {
      const path = ['spec', 'rules', index];
      for (const [at, { source }] of from.entries()) {
        for (const name of ['remoteIpBlocks', 'notRemoteIpBlocks'] as const) {
          if (source[name] !== undefined)
            collector.warn(policy, [...path, 'from', at, 'source', name], 'enforced', note);
        }
      }
      for (const [at, { key }] of when.entries()) {
        if (key === 'remote.ip') collector.warn(policy, [...path, 'when', at, 'key'], 'enforced', note);
      }
    }
  }
}
