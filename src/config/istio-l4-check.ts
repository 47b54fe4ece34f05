import { isIP } from 'node:net';
import type { Collector } from './collector.ts';
import { hostMatches } from './destination-rules.ts';
import type { Path } from './document.ts';
import { isWildcardDomain } from './host-syntax.ts';
import { checkDestinations, checkGatewayNames, checkLabels, isPassthroughName } from './istio-rule-checks.ts';
import type {
  RouteDestinationSpec,
  TcpMatchSpec,
  TcpRouteSpec,
  TlsRouteSpec,
  VirtualService,
} from './istio-virtual-service.ts';
import { isCidr } from './values.ts';

/** Istio's rules for one `tcp` rule. */
export function checkTcpRoute(resource: VirtualService, spec: TcpRouteSpec, path: Path, collector: Collector): void {
  spec.match?.forEach((match, index) => void checkMatch(resource, match, [...path, 'match', index], collector));
  checkRoute(resource, spec.route, path, collector);
}

/** Istio's rules for one `tls` rule. */
export function checkTlsRoute(resource: VirtualService, spec: TlsRouteSpec, path: Path, collector: Collector): void {
  spec.match.forEach((match, index) => {
    const at = [...path, 'match', index];
    match.sniHosts.forEach((name, i) => void checkSni(resource, name, [...at, 'sniHosts', i], collector));
    checkMatch(resource, match, at, collector);
  });
  checkRoute(resource, spec.route, path, collector);
}

function checkSni(resource: VirtualService, name: string, path: Path, collector: Collector): void {
  const { hosts = [], gateways = [] } = resource.body.spec;
  const forGateway = !gateways.includes('mesh');
  if (!isWildcardDomain(name) && !(forGateway && isPassthroughName(name))) {
    if (isIP(name) !== 0) collector.warn(resource, path, 'enforced', 'is an IP address, which no client sends as SNI');
    else collector.problem(resource, path, 'must be a host name or *.<domain>', name);
    return;
  }
  if (hosts.some((host) => hostMatches(host, name))) return;
  collector.problem(resource, path, `must be covered by the hosts (${hosts.join(', ')})`, name);
}

function checkMatch(resource: VirtualService, match: TcpMatchSpec, path: Path, collector: Collector): void {
  match.destinationSubnets?.forEach((subnet, index) => {
    if (isCidr(subnet) || isIP(subnet) !== 0) return;
    collector.problem(
      resource,
      [...path, 'destinationSubnets', index],
      'must be an address such as 10.0.0.0/8',
      subnet,
    );
  });
  checkLabels(resource, match.sourceLabels, [...path, 'sourceLabels'], collector);
  checkGatewayNames(resource, match.gateways ?? [], [...path, 'gateways'], collector);
}

function checkRoute(
  resource: VirtualService,
  route: readonly RouteDestinationSpec[] = [],
  path: Path,
  collector: Collector,
): void {
  if (route.length === 0) collector.problem(resource, path, 'needs a route with a destination');
  checkDestinations(resource, route, [...path, 'route'], collector);
}
