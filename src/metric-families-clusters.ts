import type { ClusterStatus, MeshStats } from './mesh-api.ts';
import type { MetricFamily, MetricSample } from './telemetry/metric-family.ts';

/** What is remembered of clusters and their endpoints, with Envoy's names where it has them. */
export function clusterFamilies(stats: MeshStats): readonly MetricFamily[] {
  const { breakers, clusters, egress, endpoints } = stats;
  const each = (of: (cluster: ClusterStatus) => number | undefined): readonly MetricSample[] =>
    clusters.flatMap((cluster) => {
      const value = of(cluster);
      return value === undefined ? [] : [{ labels: { cluster_name: cluster.cluster }, value }];
    });
  const envoy = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    of: (cluster: ClusterStatus) => number | undefined,
  ): MetricFamily => ({ name: `envoy_cluster_${name}`, type, help, samples: each(of) });
  const ofBreakers = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    of: (breaker: (typeof breakers)[number]) => number,
  ): MetricFamily => ({
    name: `inmesh_breaker_${name}`,
    type,
    help,
    samples: breakers.map((breaker) => ({ labels: { cluster_name: breaker.cluster }, value: of(breaker) })),
  });
  return [
    envoy('membership_total', 'gauge', 'Endpoints of a cluster that was called.', ({ endpoints }) => endpoints),
    envoy('membership_healthy', 'gauge', 'Of these, endpoints that may be chosen.', ({ healthy }) => healthy),
    envoy('upstream_rq_active', 'gauge', 'Tries under way.', ({ active }) => active),
    envoy('upstream_rq_retry', 'counter', 'Retries that were made.', ({ retries }) => retries.made),
    envoy(
      'upstream_rq_retry_overflow',
      'counter',
      'Retries that were not made: enough were under way.',
      ({ retries }) => retries.overflow,
    ),
    envoy(
      'outlier_detection_ejections_active',
      'gauge',
      'Endpoints that outlier detection keeps out now.',
      ({ outlierDetection }) => outlierDetection?.active,
    ),
    envoy(
      'outlier_detection_ejections_overflow',
      'counter',
      'Findings that were let pass because enough endpoints were out.',
      ({ outlierDetection }) => outlierDetection?.overflow,
    ),
    envoy('outlier_detection_ejections_enforced_total', 'counter', 'Ejections.', ({ outlierDetection }) =>
      outlierDetection === undefined
        ? undefined
        : Object.values(outlierDetection.enforced).reduce((sum, count) => sum + count, 0),
    ),
    ...ejectionsByCause(clusters, 'enforced', 'Ejections by this cause.'),
    ...ejectionsByCause(clusters, 'detected', 'Findings of this kind, whether they ejected or not.'),
    envoy('health_check_healthy', 'gauge', 'Endpoints that pass health checks.', (c) => c.healthCheck?.healthy),
    envoy('health_check_attempt', 'counter', 'Health checks.', (c) => c.healthCheck?.attempt),
    envoy('health_check_success', 'counter', 'Health checks that passed.', (c) => c.healthCheck?.success),
    envoy('health_check_failure', 'counter', 'Health checks that failed.', (c) => c.healthCheck?.failure),
    envoy(
      'health_check_network_failure',
      'counter',
      'Health checks without an answer.',
      (c) => c.healthCheck?.networkFailure,
    ),
    envoy(
      'health_check_passive_failure',
      'counter',
      'Endpoints that asked on a call to be left alone.',
      (c) => c.healthCheck?.passiveFailure,
    ),
    {
      name: 'inmesh_endpoint_healthy',
      help: '1 for an endpoint that may be chosen.',
      type: 'gauge',
      samples: endpoints.map(({ address, cluster, healthy, workload }) => ({
        labels: { cluster_name: cluster, address, workload },
        value: healthy ? 1 : 0,
      })),
    },
    {
      name: 'inmesh_endpoint_active',
      help: 'Tries under way to an endpoint.',
      type: 'gauge',
      samples: endpoints.map(({ address, cluster, inFlight, workload }) => ({
        labels: { cluster_name: cluster, address, workload },
        value: inFlight,
      })),
    },
    {
      name: 'inmesh_endpoint_ejections_total',
      help: 'How often outlier detection has ejected an endpoint.',
      type: 'counter',
      samples: endpoints.map(({ address, cluster, ejections, workload }) => ({
        labels: { cluster_name: cluster, address, workload },
        value: ejections,
      })),
    },
    {
      name: 'inmesh_breaker_state',
      help: '1 for the state that a circuit breaker is in.',
      type: 'gauge',
      samples: breakers.flatMap(({ cluster, state }) =>
        (['closed', 'open', 'halfOpen'] as const).map((each) => ({
          labels: { cluster_name: cluster, state: each },
          value: each === state ? 1 : 0,
        })),
      ),
    },
    ofBreakers('window_calls', 'gauge', 'Calls in the rolling window of a circuit breaker.', ({ calls }) => calls),
    ofBreakers('window_failures', 'gauge', 'Of these, calls that failed.', ({ failures }) => failures),
    ofBreakers('openings_total', 'counter', 'How often a circuit breaker has opened.', ({ openings }) => openings),
    ofBreakers('refusals_total', 'counter', 'Calls that a circuit breaker has refused.', ({ refusals }) => refusals),
    {
      name: 'inmesh_egress_decisions_total',
      help: 'What EgressPolicies have decided about outbound calls.',
      type: 'counter',
      samples: egress.map(({ action, dryRun, policy, requests, result }) => ({
        labels: { policy, action, result, dry_run: String(dryRun) },
        value: requests,
      })),
    },
  ];
}

/** Envoy has a metric of its own for each cause. */
function ejectionsByCause(
  clusters: MeshStats['clusters'],
  kind: 'enforced' | 'detected',
  help: string,
): readonly MetricFamily[] {
  const causes = new Set(clusters.flatMap((each) => Object.keys(each.outlierDetection?.[kind] ?? {})));
  return [...causes].map((cause) => ({
    name: `envoy_cluster_outlier_detection_ejections_${kind}_${cause}`,
    type: 'counter',
    help,
    samples: clusters.flatMap(({ cluster, outlierDetection }) =>
      outlierDetection === undefined
        ? []
        : [{ labels: { cluster_name: cluster }, value: outlierDetection[kind][cause] ?? 0 }],
    ),
  }));
}
