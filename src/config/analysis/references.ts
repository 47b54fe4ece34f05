import type { Path } from '../document.ts';
import type { DestinationRuleBody } from '../istio-destination-rule.ts';
import type { DestinationSpec, VirtualService, VirtualServiceBody } from '../istio-virtual-service.ts';
import { resolveHost } from '../resource.ts';
import type { GatewayBody } from '../validate-gateway.ts';
import type { AnalysisContext, Analyzer } from './context.ts';
import { overlapHosts } from './host-match.ts';
import { type KnownService, knownServices } from './known-services.ts';

/** VirtualServices that name hosts, ports, subsets and gateways that do not exist. */
export const analyzeReferences: Analyzer = (context) => {
  const virtualServices = context.ofKind<VirtualServiceBody>('VirtualService');
  if (virtualServices.length === 0) return;
  const services = knownServices(context);
  const subsets = subsetsOf(context);
  for (const resource of virtualServices) {
    for (const { destination, path } of destinationsOf(resource)) {
      const service = services.find(destination.host, resource.namespace);
      if (service === undefined) {
        const message = `no Service or ServiceEntry has the host ${destination.host}`;
        context.report('IST0101', resource, [...path, 'host'], message, { value: destination.host });
      } else checkPort(context, resource, destination, path, service);
      checkSubset(context, resource, destination, path, subsets);
    }
    checkGateways(context, resource);
  }
};

interface Place {
  readonly destination: DestinationSpec;
  readonly path: Path;
}

/** Every destination that a VirtualService names, with its place. */
export function destinationsOf({ body }: VirtualService): readonly Place[] {
  const { http = [], tcp = [], tls = [] } = body.spec;
  const routes = (
    list: readonly { readonly destination: DestinationSpec }[] | undefined,
    path: Path,
    field: string,
  ): readonly Place[] =>
    (list ?? []).map(({ destination }, index) => ({ destination, path: [...path, field, index, 'destination'] }));
  return [
    ...http.flatMap((rule, index) => [
      ...routes(rule.route, ['spec', 'http', index], 'route'),
      ...(rule.mirror === undefined
        ? []
        : [{ destination: rule.mirror, path: ['spec', 'http', index, 'mirror'] as Path }]),
      ...routes(rule.mirrors, ['spec', 'http', index], 'mirrors'),
    ]),
    ...tcp.flatMap((rule, index) => routes(rule.route, ['spec', 'tcp', index], 'route')),
    ...tls.flatMap((rule, index) => routes(rule.route, ['spec', 'tls', index], 'route')),
  ];
}

function checkPort(
  context: AnalysisContext,
  resource: VirtualService,
  { host, port }: DestinationSpec,
  path: Path,
  { ports }: KnownService,
): void {
  const numbers = ports.map(({ number }) => number);
  if (port === undefined) {
    if (numbers.length <= 1) return;
    const message = `${host} has the ports ${numbers.join(', ')}; a destination without a port means that of the request`;
    context.report('IST0112', resource, path, message);
  } else if (!numbers.includes(port.number)) {
    const message = `${host} has no port ${port.number}${numbers.length === 0 ? '' : `, only ${numbers.join(', ')}`}`;
    context.report('IST0101', resource, [...path, 'port', 'number'], message, { value: port.number });
  }
}

/** Names of subsets by full host. */
function subsetsOf(context: AnalysisContext): ReadonlyMap<string, ReadonlySet<string>> {
  const subsets = new Map<string, Set<string>>();
  for (const { namespace, body } of context.ofKind<DestinationRuleBody>('DestinationRule')) {
    const host = resolveHost(body.spec.host, namespace, context.workload.clusterDomain);
    const names = subsets.get(host) ?? new Set<string>();
    for (const { name } of body.spec.subsets ?? []) names.add(name);
    subsets.set(host, names);
  }
  return subsets;
}

function checkSubset(
  context: AnalysisContext,
  resource: VirtualService,
  { host, subset = '' }: DestinationSpec,
  path: Path,
  subsets: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  if (subset === '') return;
  const full = resolveHost(host, resource.namespace, context.workload.clusterDomain);
  for (const [ruleHost, names] of subsets) {
    if (names.has(subset) && overlapHosts(ruleHost, full)) return;
  }
  const message = `no DestinationRule has the subset ${subset} for ${host}`;
  context.report('IST0101', resource, [...path, 'subset'], message, { value: subset });
}

function checkGateways(context: AnalysisContext, resource: VirtualService): void {
  const { gateways = [], hosts = [] } = resource.body.spec;
  for (const [index, name] of gateways.entries()) {
    if (name === 'mesh') continue;
    const path = ['spec', 'gateways', index];
    const full = fullGatewayName(name, resource.namespace);
    const gateway = context
      .ofKind<GatewayBody>('Gateway')
      .find((each) => `${each.namespace}/${each.name}` === full && each.body.spec.servers !== undefined);
    if (gateway === undefined) {
      context.report('IST0101', resource, path, `there is no Gateway ${full}`, { value: name });
      continue;
    }
    const served = (gateway.body.spec.servers ?? [])
      .flatMap((server) => server.hosts ?? [])
      .flatMap((text) => {
        const slash = text.indexOf('/');
        const namespace = slash === -1 ? '*' : text.slice(0, slash);
        const owner = namespace === '.' ? gateway.namespace : namespace;
        return owner === '*' || owner === resource.namespace ? [text.slice(slash + 1)] : [];
      });
    if (hosts.some((host) => served.some((each) => overlapHosts(each, host)))) continue;
    context.report('IST0132', resource, path, `Gateway ${full} serves none of the hosts ${hosts.join(', ')}`);
  }
}

/** `name`, `namespace/name`, or Istio's older `name.namespace.svc…`. */
function fullGatewayName(name: string, namespace: string): string {
  if (name.includes('/')) return name;
  const [first = '', second] = name.split('.');
  return `${second ?? namespace}/${first}`;
}
