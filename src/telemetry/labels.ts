/** Labels of one series. Names and meaning are those of Istio's standard metrics; what is absent is not known. */
export interface SeriesLabels {
  /** `source`: calls that this process makes; `destination`: requests that it serves. */
  readonly reporter: 'source' | 'destination';
  readonly sourceWorkload: string;
  /** SPIFFE ID of the caller, or 'unknown'. */
  readonly sourcePrincipal: string;
  /** Full service host, or 'PassthroughCluster'. */
  readonly destinationService: string;
  /** Workload of the endpoint that answered, or 'unknown'. */
  readonly destinationWorkload: string;
  /** Version label or subset of the destination, or ''. */
  readonly destinationVersion: string;
  readonly sourceNamespace?: string | undefined;
  readonly sourceApp?: string | undefined;
  readonly sourceVersion?: string | undefined;
  readonly sourceCanonicalService?: string | undefined;
  readonly sourceCanonicalRevision?: string | undefined;
  /** Namespace of the workload that answers. */
  readonly destinationNamespace?: string | undefined;
  readonly destinationPrincipal?: string | undefined;
  readonly destinationApp?: string | undefined;
  /** First label of the service host. */
  readonly destinationServiceName?: string | undefined;
  readonly destinationServiceNamespace?: string | undefined;
  readonly destinationCanonicalService?: string | undefined;
  readonly destinationCanonicalRevision?: string | undefined;
  /** As in Istio: callers do not know it, servers know whether the caller has proven who it is. */
  readonly securityPolicy?: 'mutual_tls' | 'none' | 'unknown' | undefined;
  /** Values of the expressions that Telemetries have for tags, by their text. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

const names: readonly (keyof SeriesLabels)[] = [
  'reporter',
  'sourceWorkload',
  'sourceNamespace',
  'sourcePrincipal',
  'sourceApp',
  'sourceVersion',
  'sourceCanonicalService',
  'sourceCanonicalRevision',
  'destinationWorkload',
  'destinationNamespace',
  'destinationPrincipal',
  'destinationApp',
  'destinationVersion',
  'destinationService',
  'destinationServiceName',
  'destinationServiceNamespace',
  'destinationCanonicalService',
  'destinationCanonicalRevision',
  'securityPolicy',
];

/** The same for the same labels, and for no others. */
export function labelsKey(labels: SeriesLabels): string {
  const own = names.map((name) => labels[name] ?? null);
  return JSON.stringify(labels.tags === undefined ? own : [own, labels.tags]);
}

/** Where calls count once there are too many series: which callers, or which destinations, is not told apart any more. */
export function overflowLabels(given: SeriesLabels): SeriesLabels {
  const other = 'other';
  const labels = othersTagged(given);
  if (labels.reporter === 'destination') {
    return {
      ...labels,
      sourceWorkload: other,
      sourceNamespace: other,
      sourcePrincipal: other,
      sourceApp: other,
      sourceVersion: other,
      sourceCanonicalService: other,
      sourceCanonicalRevision: other,
      securityPolicy: 'unknown',
    };
  }
  return {
    ...labels,
    destinationWorkload: other,
    destinationNamespace: other,
    destinationPrincipal: other,
    destinationApp: other,
    destinationVersion: other,
    destinationService: other,
    destinationServiceName: other,
    destinationServiceNamespace: other,
    destinationCanonicalService: other,
    destinationCanonicalRevision: other,
  };
}

/** Labels whose tags are too many to have a series of their own. */
export function othersTagged(labels: SeriesLabels): SeriesLabels {
  const { tags } = labels;
  if (tags === undefined) return labels;
  return { ...labels, tags: Object.fromEntries(Object.keys(tags).map((text) => [text, 'other'])) };
}

/** Labels with those tags alone; the same object where nothing changes. */
export function onlyTagged(labels: SeriesLabels, texts: ReadonlySet<string>): SeriesLabels {
  const { tags, ...rest } = labels;
  if (tags === undefined) return labels;
  const all = Object.entries(tags);
  const kept = all.filter(([text]) => texts.has(text));
  if (kept.length === all.length) return labels;
  return kept.length === 0 ? rest : { ...rest, tags: Object.fromEntries(kept) };
}

/** What a workload is called, from its name and labels. */
export interface WorkloadNames {
  readonly app: string;
  readonly version: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
}

/** Istio's rules for `app`, `version` and the canonical service (label, Kubernetes' label, `app`, name of the workload). */
export function workloadNames(name: string, labels: Readonly<Record<string, string>>): WorkloadNames {
  const app = labels['app'] ?? '';
  const version = labels['version'] ?? '';
  const canonicalService =
    labels['service.istio.io/canonical-name'] ?? (labels['app.kubernetes.io/name'] || app || name);
  const canonicalRevision =
    labels['service.istio.io/canonical-revision'] ?? (labels['app.kubernetes.io/version'] || version || 'latest');
  return { app, version, canonicalService, canonicalRevision };
}

/** Name and namespace that a service host says: `reviews.shop.svc.cluster.local`; other hosts are their own name. */
export function serviceNames(host: string): { readonly name: string; readonly namespace: string | undefined } {
  const [name = '', namespace, svc] = host.split('.', 3);
  return svc === 'svc' && namespace !== undefined ? { name, namespace } : { name: host, namespace: undefined };
}
