import { parseStrictJson } from 'inmesh/identity';
import type { KubernetesCluster } from './kubernetes.ts';
import { invalid } from './options.ts';

const texts = ['cluster', 'issuer', 'jwksFile', 'jwksUrl', 'caFile', 'tokenFile'] as const;
const lists = ['audiences', 'algorithms'] as const;

/**
 * Reads clusters from JSON: one object, or a list of them, with the members of
 * {@link KubernetesCluster}. A member that is not known is refused. What the values mean is judged
 * by `kubernetesAttestor`.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function readKubernetesClusters(text: string): readonly KubernetesCluster[] {
  let value: unknown;
  try {
    value = parseStrictJson(text, { maxLength: 1_048_576, maxDepth: 8 });
  } catch (error) {
    throw invalid('kubernetes', `the list of clusters cannot be read: ${(error as Error).message}`);
  }
  return (Array.isArray(value) ? value : [value]).map(clusterOf);
}

function clusterOf(value: unknown): KubernetesCluster {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('kubernetes', 'expected an object for each cluster', value);
  }
  for (const [name, member] of Object.entries(value)) {
    const expected = expectation(name, member);
    if (expected !== undefined) throw invalid(`kubernetes: ${name}`, expected, member);
  }
  if (!('cluster' in value && 'issuer' in value))
    throw invalid('kubernetes', 'a cluster needs cluster and issuer', value);
  return value as unknown as KubernetesCluster;
}

/** What a member should be; nothing when it is. */
function expectation(name: string, value: unknown): string | undefined {
  if (texts.some((known) => known === name)) return typeof value === 'string' ? undefined : 'expected text';
  if (lists.some((known) => known === name)) return isTexts(value) ? undefined : 'expected a list of texts';
  if (name !== 'namespaces') return `expected one of ${[...texts, ...lists, 'namespaces'].join(', ')}`;
  const members: unknown = Array.isArray(value) ? value : Object.values(Object(value));
  return typeof value === 'object' && value !== null && isTexts(members)
    ? undefined
    : 'expected a list of namespaces, or an object of them';
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
