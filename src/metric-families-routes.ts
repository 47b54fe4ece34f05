import type { MetricFamily } from './telemetry/metric-family.ts';
import type { RouteStatus } from './telemetry/route-stats.ts';

/** Statistics of routes, with Envoy's names: only of rules whose match has a `statPrefix`. */
export function routeFamilies(routes: readonly RouteStatus[]): readonly MetricFamily[] {
  const labels = ({ statPrefix, virtualHost }: RouteStatus): Readonly<Record<string, string>> => ({
    envoy_virtual_host: virtualHost,
    envoy_route: statPrefix,
  });
  const each = (name: string, help: string, of: (route: RouteStatus) => number): MetricFamily => ({
    name: `envoy_vhost_route_${name}`,
    type: 'counter',
    help,
    samples: routes.map((route) => ({ labels: labels(route), value: of(route) })),
  });
  return [
    each('upstream_rq_total', 'Tries of calls that met a match with this statPrefix.', ({ requests }) => requests),
    each('upstream_rq_retry', 'Of these, tries after the first of their call.', ({ retries }) => retries),
    each('upstream_rq_timeout', 'Such calls that were given up for lack of time.', ({ timeouts }) => timeouts),
    {
      name: 'envoy_vhost_route_upstream_rq_xx',
      type: 'counter',
      help: 'Such calls by the class of the status that the application got.',
      samples: routes.flatMap((route) =>
        Object.entries(route.classes).map(([of, value]) => ({
          labels: { ...labels(route), envoy_response_code_class: of },
          value,
        })),
      ),
    },
  ];
}
