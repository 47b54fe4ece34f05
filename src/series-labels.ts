import type { Cluster, Endpoint } from './model/cluster.ts';
import { type Workload, workloadSpiffeId } from './model/workload.ts';
import { type SeriesLabels, serviceNames, workloadNames } from './telemetry/labels.ts';
import type { ServerLabels } from './telemetry/server-filter.ts';

/** Labels of what a workload calls. */
export interface SourceLabels {
  /** Calls that reached no endpoint, and hosts outside of the mesh; '' where nobody knows the service. */
  toService(service: string): SeriesLabels;
  toEndpoint(cluster: Cluster, endpoint: Endpoint): SeriesLabels;
}

export function createSourceLabels(workload: Workload): SourceLabels {
  const { app, canonicalRevision, canonicalService, version } = workloadNames(workload.name, workload.labels);
  const source = {
    reporter: 'source',
    sourceWorkload: workload.name,
    sourceNamespace: workload.namespace,
    sourcePrincipal: workloadSpiffeId(workload),
    sourceApp: app,
    sourceVersion: version,
    sourceCanonicalService: canonicalService,
    sourceCanonicalRevision: canonicalRevision,
  } as const;
  return {
    toService(service) {
      const { name, namespace } = serviceNames(service === '' ? 'unknown' : service);
      return {
        ...source,
        destinationService: service === '' ? 'unknown' : service,
        destinationServiceName: name,
        destinationServiceNamespace: namespace,
        destinationWorkload: 'unknown',
        destinationVersion: '',
      };
    },
    toEndpoint(cluster, endpoint) {
      const { name, namespace } = serviceNames(cluster.host);
      const names = workloadNames(endpoint.workload, endpoint.labels);
      return {
        ...source,
        destinationService: cluster.host,
        destinationServiceName: name,
        destinationServiceNamespace: namespace,
        destinationWorkload: endpoint.workload || 'unknown',
        // A service selects workloads of its own namespace.
        destinationNamespace: namespace,
        destinationPrincipal: principalOf(cluster, endpoint),
        destinationApp: names.app,
        destinationVersion: endpoint.labels['version'] ?? cluster.subset,
        destinationCanonicalService: names.canonicalService,
        destinationCanonicalRevision: names.canonicalRevision,
      };
    },
  };
}

/** Labels of what a workload serves, from what it says about itself. */
export function destinationLabels({ name, namespace, labels, clusterDomain, ...workload }: Workload): ServerLabels {
  const { app, canonicalRevision, canonicalService, version } = workloadNames(name, labels);
  return {
    destinationService: `${canonicalService}.${namespace}.svc.${clusterDomain}`,
    destinationServiceName: canonicalService,
    destinationServiceNamespace: namespace,
    destinationWorkload: name,
    destinationNamespace: namespace,
    destinationPrincipal: workloadSpiffeId({ name, namespace, labels, clusterDomain, ...workload }),
    destinationApp: app,
    destinationVersion: labels['service.istio.io/canonical-revision'] ?? labels['app.kubernetes.io/version'] ?? version,
    destinationCanonicalService: canonicalService,
    destinationCanonicalRevision: canonicalRevision,
  };
}

/** What the server of a connection has to prove; nothing where it may be one of several, or nobody is asked. */
function principalOf({ serverIdentities, tls }: Cluster, { speaksMtls, spiffeId }: Endpoint): string | undefined {
  const proves = tls === 'mutual' || (tls === 'auto' && speaksMtls);
  if (!proves) return undefined;
  return spiffeId ?? (serverIdentities.length === 1 ? serverIdentities[0] : undefined);
}
