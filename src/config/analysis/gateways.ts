import { describeResource } from '../problem.ts';
import type { Resource } from '../resource.ts';
import type { GatewayBody } from '../validate-gateway.ts';
import type { Analyzer } from './context.ts';
import { overlapHosts } from './host-match.ts';

/** Gateways that claim the same port and host of the same proxies. */
export const analyzeConflictingGateways: Analyzer = (context) => {
  const servers = context.ofKind<GatewayBody>('Gateway').flatMap((resource) =>
    (resource.body.spec.servers ?? []).map((server, index) => ({
      resource,
      index,
      key: `${selectorText(resource)} ${server.port.number ?? 0}`,
      hosts: (server.hosts ?? []).map((host) => namespaced(host, resource.namespace)),
    })),
  );
  const byKey = Map.groupBy(servers, ({ key }) => key);
  for (const group of byKey.values()) {
    for (const server of group) {
      const others = group.filter(
        (other) =>
          other.resource !== server.resource &&
          server.hosts.some((a) =>
            other.hosts.some(
              (b) =>
                (a.namespace === '*' || b.namespace === '*' || a.namespace === b.namespace) &&
                overlapHosts(a.host, b.host),
            ),
          ),
      );
      if (others.length === 0) continue;
      const names = [...new Set(others.map((other) => describeResource(other.resource)))].join(' and ');
      const message = `${names} has the same selector, port and hosts`;
      context.report('IST0145', server.resource, ['spec', 'servers', server.index], message);
    }
  }
};

function selectorText({ body }: Resource<GatewayBody>): string {
  const entries = Object.entries(body.spec.selector ?? {}).map(([key, value]) => `${key}=${value}`);
  return entries.sort().join(',');
}

function namespaced(text: string, own: string): { readonly namespace: string; readonly host: string } {
  const slash = text.indexOf('/');
  const namespace = slash === -1 ? '*' : text.slice(0, slash);
  return { namespace: namespace === '.' ? own : namespace, host: text.slice(slash + 1) };
}
