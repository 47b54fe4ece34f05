import type { MeshStats } from './mesh-api.ts';
import type { MetricFamily, MetricSample } from './telemetry/metric-family.ts';

/** What a server has let in and turned away. */
export function inboundFamilies(stats: MeshStats): readonly MetricFamily[] {
  const { authorization, authorizers, connections, overload, rateLimits } = stats;
  const one = (value: number | undefined): readonly MetricSample[] =>
    value === undefined ? [] : [{ labels: {}, value }];
  return [
    {
      name: 'envoy_listener_downstream_cx_total',
      help: 'Connections that were accepted.',
      type: 'counter',
      samples: one(connections.accepted),
    },
    {
      name: 'envoy_listener_ssl_connection_error',
      help: 'TLS handshakes that failed.',
      type: 'counter',
      samples: one(connections.handshakesFailed),
    },
    {
      name: 'inmesh_handshake_failures_total',
      help: 'TLS handshakes that failed, by reason.',
      type: 'counter',
      samples: Object.entries(connections.handshakeFailures).map(([reason, value]) => ({ labels: { reason }, value })),
    },
    {
      name: 'inmesh_connections_refused_total',
      help: 'Connections that were refused: plaintext on a STRICT port, TLS where there is none.',
      type: 'counter',
      samples: [
        { labels: { protocol: 'plaintext' }, value: connections.plaintextRefused },
        { labels: { protocol: 'tls' }, value: connections.tlsRefused },
      ],
    },
    {
      name: 'inmesh_authorization_decisions_total',
      help: 'What AuthorizationPolicies have decided.',
      type: 'counter',
      samples: authorization.map(({ action, dryRun, policy, requests, result }) => ({
        labels: { policy, action, result, dry_run: String(dryRun) },
        value: requests,
      })),
    },
    {
      name: 'inmesh_authorizer_answers_total',
      help: 'What external authorizers have said.',
      type: 'counter',
      samples: authorizers.flatMap(({ allowed, denied, failed, name }) => [
        { labels: { authorizer: name, result: 'allowed' }, value: allowed },
        { labels: { authorizer: name, result: 'denied' }, value: denied },
        { labels: { authorizer: name, result: 'failed' }, value: failed },
      ]),
    },
    {
      name: 'inmesh_authorizer_failed_open_total',
      help: 'Requests that passed because an authorizer that may be passed by could not be asked.',
      type: 'counter',
      samples: authorizers.map(({ failedOpen, name }) => ({ labels: { authorizer: name }, value: failedOpen })),
    },
    {
      name: 'inmesh_rate_limited_total',
      help: 'Requests that a rate limit has refused, or would have.',
      type: 'counter',
      samples: rateLimits.map(({ limited, name }) => ({ labels: { limit: name }, value: limited })),
    },
    {
      name: 'inmesh_overload_limit',
      help: 'Requests that may be under way at once.',
      type: 'gauge',
      samples: one(overload?.limit),
    },
    { name: 'inmesh_overload_active', help: 'Requests under way.', type: 'gauge', samples: one(overload?.active) },
    {
      name: 'inmesh_overload_waiting',
      help: 'Requests that wait for a place.',
      type: 'gauge',
      samples: one(overload?.waiting),
    },
    {
      name: 'inmesh_overload_refusals_total',
      help: 'Requests that were turned away to protect this process, by reason.',
      type: 'counter',
      samples: Object.entries(overload?.refusals ?? {}).map(([reason, value]) => ({ labels: { reason }, value })),
    },
    {
      name: 'inmesh_overload_eventloop_delay_milliseconds',
      help: 'How late the event loop was last.',
      type: 'gauge',
      samples: one(overload?.eventLoop?.delayMs),
    },
    {
      name: 'inmesh_overload_shed_ratio',
      help: 'Share of the requests that is turned away because the event loop is late.',
      type: 'gauge',
      samples: one(overload?.eventLoop?.share),
    },
    {
      name: 'inmesh_overload_min_rtt_milliseconds',
      help: 'Shortest time that the adaptive limit has measured.',
      type: 'gauge',
      samples: one(overload?.adaptive?.minRttMs),
    },
    {
      name: 'inmesh_overload_gradient',
      help: 'Gradient of the adaptive limit.',
      type: 'gauge',
      samples: one(overload?.adaptive?.gradient),
    },
  ];
}
