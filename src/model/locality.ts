/** Where a workload runs; '' where nobody knows. */
export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** Reads `region/zone/subzone`. Three parts at most: a subzone may hold slashes. */
export function readLocality(text: string): Locality {
  const first = text.indexOf('/');
  if (first === -1) return { region: text, zone: '', subzone: '' };
  const second = text.indexOf('/', first + 1);
  if (second === -1) return { region: text.slice(0, first), zone: text.slice(first + 1), subzone: '' };
  return { region: text.slice(0, first), zone: text.slice(first + 1, second), subzone: text.slice(second + 1) };
}

/** Labels by which Kubernetes and Istio say where a workload runs. */
export const topologyLabels = {
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  subzone: 'topology.istio.io/subzone',
  network: 'topology.istio.io/network',
  node: 'kubernetes.io/hostname',
} as const;

/**
 * `region/zone/subzone` by the labels that Istio knows for it, in which dots stand for slashes; ''
 * where there is none.
 */
export function localityOfLabels(labels: Readonly<Record<string, string>>): string {
  const label = labels['topology.istio.io/locality'] ?? labels['istio-locality'] ?? '';
  return label.includes('/') ? label : label.replaceAll('.', '/');
}

/** The same by the labels of the place: Kubernetes copies them from nodes to pods. */
export function localityOfTopology(labels: Readonly<Record<string, string>>): string {
  const { region, zone, subzone } = topologyLabels;
  const parts = [labels[region] ?? '', labels[zone] ?? '', labels[subzone] ?? ''];
  while (parts.at(-1) === '') parts.pop();
  return parts.join('/');
}
