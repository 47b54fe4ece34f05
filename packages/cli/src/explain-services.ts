import { isTextMap, withoutNulls } from './explain-request.ts';
import { BadLine, isRecord } from './lines.ts';

/** One endpoint of a service, as a line names it. */
export interface ServiceLine {
  /** Full name; `reviews` alone is a service of `namespace`. */
  readonly host: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ip?: string;
  /** Port of the endpoint. Default: that of the service. */
  readonly port?: number;
  /** Port of the service. Default: that of the endpoint. */
  readonly servicePort?: number;
  /** Decides the protocol, as in a Kubernetes Service. */
  readonly portName?: string;
  /** Identity of the endpoint; absent: not known. */
  readonly serviceAccount?: string;
}

type Resource = Readonly<Record<string, unknown>>;

interface Port {
  readonly name: string;
  readonly port: number;
}

interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly host: string;
  /** By number. */
  readonly ports: Map<number, Port>;
  /** By address and labels. */
  readonly endpoints: Map<string, Endpoint>;
}

interface Endpoint {
  readonly ip: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly ports: EndpointPort[];
}

interface EndpointPort extends Port {
  readonly servicePort: number;
}

/**
 * The resources that stand for services given line by line: for each host a Kubernetes Service with
 * its EndpointSlices and Pods, or a ServiceEntry when the name is not one of the cluster. A service
 * that `resources` describe themselves gets the endpoints only.
 */
export function resourcesOfServices(
  lines: unknown,
  resources: readonly unknown[],
  clusterDomain: string,
): readonly Resource[] {
  if (lines === undefined || lines === null) return [];
  if (!Array.isArray(lines)) throw new BadLine('config.services must be a list');
  const services = new Map<string, Service>();
  for (const [index, line] of lines.entries()) addLine(services, checkLine(line, index), clusterDomain);
  const described = describedServices(resources, clusterDomain);
  return [...services.values()].flatMap((service) =>
    service.name === '' ? serviceEntry(service, described) : kubernetesService(service, described),
  );
}

/** What Kubernetes takes for a Service; other names of the cluster can be those of a ServiceEntry. */
const serviceName = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;

function addLine(services: Map<string, Service>, line: ServiceLine, clusterDomain: string): void {
  const { namespace = 'default', labels = {}, ip, serviceAccount = '' } = line;
  const number = line.servicePort ?? line.port ?? 80;
  const given = line.host.toLowerCase();
  const suffix = `.svc.${clusterDomain}`;
  const host = given.includes('.') ? given : `${given}.${namespace}${suffix}`;
  const [name = '', ns = '', ...more] = host.endsWith(suffix) ? host.slice(0, -suffix.length).split('.') : [];
  const ofCluster = ns !== '' && more.length === 0 && serviceName.test(name);
  let service = services.get(host);
  if (service === undefined) {
    service = {
      name: ofCluster ? name : '',
      namespace: ofCluster ? ns : namespace,
      host,
      ports: new Map(),
      endpoints: new Map(),
    };
    services.set(host, service);
  }
  let port = service.ports.get(number);
  if (port === undefined) {
    const taken = new Set([...service.ports.values()].map((each) => each.name));
    const wanted = line.portName ?? '';
    // Kubernetes wants names, and different ones, as soon as there are several ports.
    port = { name: wanted === '' || taken.has(wanted) ? `${wanted || 'port'}-${number}` : wanted, port: number };
    service.ports.set(number, port);
  }
  if (ip === undefined) return;
  const key = JSON.stringify([ip, labels, serviceAccount]);
  let endpoint = service.endpoints.get(key);
  if (endpoint === undefined) service.endpoints.set(key, (endpoint = { ip, labels, serviceAccount, ports: [] }));
  const target = line.port ?? number;
  if (!endpoint.ports.some(({ name: known, port: at }) => known === port.name && at === target)) {
    endpoint.ports.push({ name: port.name, port: target, servicePort: number });
  }
}

function kubernetesService(service: Service, described: Described): readonly Resource[] {
  const { endpoints, host, name, namespace, ports } = service;
  const known = described.get(host);
  const result: Resource[] =
    known !== undefined
      ? []
      : [{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { ports: [...ports.values()] } }];
  [...endpoints.values()].forEach((endpoint, index) => {
    const pod = `${name}-endpoint-${index}`;
    result.push(
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: pod, namespace, labels: { 'kubernetes.io/service-name': name } },
        addressType: endpoint.ip.includes(':') ? 'IPv6' : 'IPv4',
        endpoints: [{ addresses: [endpoint.ip], targetRef: { kind: 'Pod', name: pod, namespace } }],
        ports: endpoint.ports.map(({ name: own, servicePort, port }) => ({
          name: known?.get(servicePort) ?? own,
          port,
        })),
      },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: pod, namespace, labels: endpoint.labels },
        spec: { serviceAccountName: endpoint.serviceAccount },
      },
    );
  });
  return result;
}

function serviceEntry(service: Service, described: Described): readonly Resource[] {
  if (described.has(service.host)) return [];
  const { endpoints, host, namespace, ports } = service;
  return [
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: `services-${host.replaceAll(/[^a-z0-9.-]/g, 'x')}`, namespace },
      spec: {
        hosts: [host],
        location: 'MESH_INTERNAL',
        resolution: endpoints.size === 0 ? 'NONE' : 'STATIC',
        ports: [...ports.values()].map(({ name, port }) => ({ number: port, name, protocol: protocolOf(name) })),
        ...(endpoints.size === 0 ? {} : { endpoints: [...endpoints.values()].map(entryOf) }),
      },
    },
  ];
}

function entryOf({ ip, labels, ports, serviceAccount }: Endpoint): Resource {
  return {
    address: ip,
    labels,
    ports: Object.fromEntries(ports.map(({ name, port }) => [name, port])),
    ...(serviceAccount === '' ? {} : { serviceAccount }),
  };
}

const protocols: ReadonlySet<string> = new Set([
  'http',
  'http2',
  'https',
  'grpc',
  'tls',
  'tcp',
  'mongo',
  'redis',
  'mysql',
]);

/** The word before the first dash of a port name, as Istio selects the protocol. */
function protocolOf(name: string): string {
  const word = name.toLowerCase();
  const before = word.startsWith('grpc-web') ? 'grpc-web' : (word.split('-', 1)[0] ?? '');
  return protocols.has(before) || before === 'grpc-web' ? before.toUpperCase() : 'HTTP';
}

/** Services that `resources` describe by themselves: names of their ports by host and number. */
type Described = ReadonlyMap<string, ReadonlyMap<unknown, unknown>>;

function describedServices(resources: readonly unknown[], clusterDomain: string): Described {
  const result = new Map<string, ReadonlyMap<unknown, unknown>>();
  for (const resource of resources) {
    if (!isRecord(resource)) continue;
    const { kind, metadata, spec } = resource;
    if (!isRecord(metadata) || !isRecord(spec)) continue;
    if (kind === 'Service') {
      const { name, namespace = 'default' } = metadata;
      result.set(`${String(name)}.${String(namespace)}.svc.${clusterDomain}`, portNames(spec['ports'], 'port'));
    } else if (kind === 'ServiceEntry' && Array.isArray(spec['hosts'])) {
      for (const host of spec['hosts']) result.set(String(host).toLowerCase(), portNames(spec['ports'], 'number'));
    }
  }
  return result;
}

function portNames(ports: unknown, number: string): ReadonlyMap<unknown, unknown> {
  const list = Array.isArray(ports) ? ports.filter(isRecord) : [];
  return new Map(list.map((port) => [port[number], port['name'] ?? '']));
}

function checkLine(given: unknown, index: number): ServiceLine {
  const at = `config.services[${index}]`;
  if (!isRecord(given)) throw new BadLine(`${at} must be an object`);
  const line = withoutNulls(given);
  for (const name of ['namespace', 'ip', 'portName', 'serviceAccount']) {
    const value = line[name];
    if (value !== undefined && typeof value !== 'string') throw new BadLine(`${at}.${name} must be a text`);
  }
  for (const name of ['port', 'servicePort']) {
    const value = line[name];
    if (value === undefined) continue;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 65_535) {
      throw new BadLine(`${at}.${name} must be an integer from 1 to 65535`);
    }
  }
  if (typeof line['host'] !== 'string' || line['host'] === '') throw new BadLine(`${at}.host must be a host name`);
  if (line['labels'] !== undefined && !isTextMap(line['labels'])) {
    throw new BadLine(`${at}.labels must be a map of texts`);
  }
  return line as unknown as ServiceLine;
}
