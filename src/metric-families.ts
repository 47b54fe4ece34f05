import type { Mesh, MeshHealth, MeshStats } from './mesh-api.ts';
import { clusterFamilies } from './metric-families-clusters.ts';
import { inboundFamilies } from './metric-families-inbound.ts';
import { routeFamilies } from './metric-families-routes.ts';
import { istioFamilies } from './telemetry/istio-families.ts';
import type { MetricFamily } from './telemetry/metric-family.ts';
import { processFamilies } from './telemetry/process-families.ts';
import { metricsContentTypes, metricsFormat, prometheusText } from './telemetry/prometheus.ts';

/** What {@link metricFamilies} leaves out. */
export interface MetricFamiliesOptions {
  /** Gauges of the process (`process_…`, `nodejs_…`). Default true; false where a client library writes them already. */
  readonly process?: boolean;
}

/**
 * Everything that a mesh counts, under the names of Istio and Envoy where they have one. For exporters; the
 * text for Prometheus is that of {@link meshMetricsText}.
 */
export function metricFamilies(
  mesh: Pick<Mesh, 'stats' | 'health'>,
  options: MetricFamiliesOptions = {},
): readonly MetricFamily[] {
  const stats = mesh.stats();
  return [
    ...istioFamilies(stats.requests, stats.tcp, stats.metricOverrides),
    ...clusterFamilies(stats),
    ...routeFamilies(stats.routes),
    ...inboundFamilies(stats),
    ...meshFamilies(stats, mesh.health()),
    ...(options.process === false ? [] : processFamilies()),
  ];
}

/** A page for Prometheus, and what it is. */
export interface MetricsPage {
  readonly contentType: string;
  readonly body: string;
}

/**
 * The metrics of a mesh as Prometheus reads them, in the format that the `accept` header of its request asks for.
 *
 * @example
 * const mesh = createMesh();
 * const { contentType, body } = meshMetricsText(mesh);
 * console.log(contentType, body.includes('inmesh_ready'));
 */
export function meshMetricsText(
  mesh: Pick<Mesh, 'stats' | 'health'>,
  accept?: string,
  options: MetricFamiliesOptions = {},
): MetricsPage {
  const format = metricsFormat(accept);
  return { contentType: metricsContentTypes[format], body: prometheusText(metricFamilies(mesh, options), format) };
}

/** Identity, configuration, readiness, keys of tokens, faults. */
function meshFamilies(stats: MeshStats, health: MeshHealth): readonly MetricFamily[] {
  const { config, configVersion, faults, identityHealth, jwks, workload } = stats;
  const one = (value: number): MetricFamily['samples'] => [{ labels: {}, value }];
  const ofIdentity = (value: number | undefined): MetricFamily['samples'] => (value === undefined ? [] : one(value));
  const expiry = identityHealth?.expirySeconds;
  return [
    {
      name: 'inmesh_workload_info',
      help: 'Who this process is in the mesh.',
      type: 'gauge',
      samples: [{ labels: { workload: workload.name, namespace: workload.namespace }, value: 1 }],
    },
    {
      name: 'inmesh_ready',
      help: '1 while there are a configuration and, where there is to be one, a valid certificate.',
      type: 'gauge',
      samples: one(health.ready ? 1 : 0),
    },
    {
      name: 'inmesh_warnings',
      help: 'What is wrong while it is ready: see /healthz/ready.',
      type: 'gauge',
      samples: one(health.warnings.length),
    },
    {
      name: 'inmesh_access_log_dropped_total',
      help: 'Lines of the access log that were dropped.',
      type: 'counter',
      samples: one(stats.accessLogDropped),
    },
    {
      name: 'inmesh_config_info',
      help: 'Version of the configuration in force.',
      type: 'gauge',
      samples: configVersion === undefined ? [] : [{ labels: { version: configVersion }, value: 1 }],
    },
    {
      name: 'inmesh_config_updates_total',
      help: 'Configurations that were accepted.',
      type: 'counter',
      samples: one(config.accepted),
    },
    {
      name: 'inmesh_config_rejections_total',
      help: 'Configurations that were refused; the last good one stayed.',
      type: 'counter',
      samples: one(config.rejected),
    },
    {
      name: 'inmesh_config_source_lost_total',
      help: 'How often the source of configuration was out of reach.',
      type: 'counter',
      samples: one(config.lost),
    },
    {
      name: 'inmesh_config_accepted_timestamp_seconds',
      help: 'When the configuration in force was accepted.',
      type: 'gauge',
      samples: config.acceptedAt === undefined ? [] : one(config.acceptedAt / 1_000),
    },
    {
      name: 'istio_agent_cert_expiry_seconds',
      help: 'Until the certificate expires; negative afterwards.',
      type: 'gauge',
      samples: expiry === undefined ? [] : [{ labels: { resource_name: 'default' }, value: expiry }],
    },
    {
      name: 'envoy_server_days_until_first_cert_expiring',
      help: 'Whole days until the certificate expires.',
      type: 'gauge',
      samples: ofIdentity(expiry === undefined ? undefined : Math.max(0, Math.floor(expiry / 86_400))),
    },
    {
      name: 'inmesh_identity_state',
      help: '1 for the state that the identity is in: none, valid, due (not renewed in time), expired.',
      type: 'gauge',
      samples:
        identityHealth === undefined
          ? []
          : identityStates.map((state) => ({ labels: { state }, value: identityHealth.state === state ? 1 : 0 })),
    },
    {
      name: 'inmesh_identity_updates_total',
      help: 'Certificates that were accepted.',
      type: 'counter',
      samples: ofIdentity(identityHealth?.updates),
    },
    {
      name: 'inmesh_identity_rejections_total',
      help: 'Certificates that arrived and were refused.',
      type: 'counter',
      samples: ofIdentity(identityHealth?.rejected),
    },
    {
      name: 'inmesh_identity_source_lost_total',
      help: 'How often the source of certificates was out of reach.',
      type: 'counter',
      samples: ofIdentity(identityHealth?.lost),
    },
    {
      name: 'inmesh_jwks_keys',
      help: 'Keys in force that can verify tokens.',
      type: 'gauge',
      samples: jwks.map(({ from, keys, url }) => ({ labels: { from, url }, value: keys })),
    },
    {
      name: 'inmesh_jwks_fetches_total',
      help: 'Fetches of keys of tokens, by whether they succeeded.',
      type: 'counter',
      samples: jwks.flatMap(({ failures, fetches, from, url }) => [
        { labels: { from, url, result: 'success' }, value: fetches - failures },
        { labels: { from, url, result: 'failure' }, value: failures },
      ]),
    },
    {
      name: 'envoy_http_fault_active_faults',
      help: 'Calls with an injected fault that are under way.',
      type: 'gauge',
      samples: one(faults.active),
    },
    {
      name: 'envoy_http_fault_delays_injected',
      help: 'Delays injected into calls.',
      type: 'counter',
      samples: one(faults.delays),
    },
    {
      name: 'envoy_http_fault_aborts_injected',
      help: 'Aborts injected into calls.',
      type: 'counter',
      samples: one(faults.aborts),
    },
    {
      name: 'envoy_http_fault_faults_overflow',
      help: 'Calls without a fault because enough faults were under way.',
      type: 'counter',
      samples: one(faults.overflow),
    },
  ];
}

const identityStates = ['none', 'valid', 'due', 'expired'] as const;
