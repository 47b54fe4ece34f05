import { isDeepStrictEqual } from 'node:util';
import type { CompileResult } from '../../src/config/compile.ts';
import { Layered } from '../../src/config/layered.ts';
import type { Random } from '../../src/lib/random.ts';

/** Documents of each file. */
export type Files = Readonly<Record<string, readonly string[]>>;

const hosts = ['a', 'b', 'c', 'd'];
const fileNames = ['one.yaml', 'three.yaml', 'two.yaml'];

/** What two compilations differ in; nothing when they do not. */
export function differenceOf(a: CompileResult, b: CompileResult): string | undefined {
  if (!a.ok || !b.ok) {
    if (a.ok !== b.ok) return a.ok ? 'only the first is accepted' : 'only the second is accepted';
    return !a.ok && !b.ok && isDeepStrictEqual(a.problems, b.problems) ? undefined : 'other problems';
  }
  for (const part of ['version', 'hosts', 'wildcardHosts', 'clusters', 'outboundPolicy', 'inbound'] as const) {
    const [x, y] = [a, b].map(({ snapshot }) => plain(snapshot[part]));
    if (isDeepStrictEqual(x, y)) continue;
    if (!(x instanceof Map && y instanceof Map)) return `${part}: ${JSON.stringify(x)} and ${JSON.stringify(y)}`;
    const keys = new Set([...x.keys(), ...y.keys()]);
    const key = [...keys].find((each) => !isDeepStrictEqual(x.get(each), y.get(each)));
    return `${part} ${key}: ${JSON.stringify(x.get(key))} and ${JSON.stringify(y.get(key))}`;
  }
  const index = a.report.entries.findIndex((entry, i) => !isDeepStrictEqual(entry, b.report.entries[i]));
  if (index === -1 && a.report.entries.length === b.report.entries.length) return undefined;
  return `report: ${JSON.stringify(a.report.entries[index])} and ${JSON.stringify(b.report.entries[index])}`;
}

/** Maps that are layers of others, as one map. */
function plain(part: unknown): unknown {
  return part instanceof Layered ? new Map(part) : part;
}

export function newFiles(random: Random): Files {
  return Object.fromEntries(
    fileNames.map((name) => [name, Array.from({ length: 2 + below(random, 6) }, () => resource(random))]),
  );
}

/** One document more, one less, one in the place of another, or a value of one. */
export function withRandomEdit(files: Files, random: Random): { readonly files: Files; readonly what: string } {
  const name = one(random, fileNames);
  const documents = files[name] ?? [];
  const index = below(random, documents.length + 1);
  const old = documents[index];
  const what = one(random, ['add', 'remove', 'replace', 'replace', 'number', 'number', 'move', 'comment', 'rule']);
  const edited = [...documents];
  if (what === 'add' || old === undefined) edited.splice(index, 0, resource(random));
  else if (what === 'remove') edited.splice(index, 1);
  else if (what === 'replace') edited[index] = resource(random);
  // Both move everything behind them.
  else if (what === 'comment') edited[index] = `# ${below(random, 9)}\n${old}`;
  else if (what === 'rule' && old.includes('  http:\n')) edited[index] = `${old}  - {directResponse: {status: 503}}\n`;
  else if (what === 'move') edited.push(...edited.splice(index, 1));
  else edited[index] = old.replace(/(weight|attempts|timeout|maxConnections): \d+/, `$1: ${1 + below(random, 40)}`);
  return { files: { ...files, [name]: edited }, what };
}

function below(random: Random, end: number): number {
  return Math.floor(random() * end);
}

function one<T>(random: Random, values: readonly T[]): T {
  return values[below(random, values.length)] as T;
}

/** Some text, or none. */
function maybe(random: Random, chance: number, make: () => string): string {
  return random() < chance ? make() : '';
}

function resource(random: Random): string {
  const make = one(random, kinds);
  return make(random);
}

function head(random: Random, group: string, kind: string, name = one(random, hosts)): string {
  const created = maybe(random, 0.4, () => `  creationTimestamp: "2026-01-0${1 + below(random, 3)}T00:00:00Z"\n`);
  const namespace = one(random, ['shop', 'shop', 'other', 'istio-system']);
  return `apiVersion: ${group}\nkind: ${kind}\nmetadata:\n  name: ${name}${below(random, kind === 'Service' || kind === 'VirtualService' ? 9 : 60)}\n  namespace: ${namespace}\n${created}`;
}

const istio = 'networking.istio.io/v1';
const anyHost = (random: Random): string =>
  one(random, [
    'a.example',
    'b.example',
    'c.example',
    'a.b.example',
    'k0.shop.svc.cluster.local',
    'k1',
    'e0.shop.svc.cluster.local',
  ]);
const exportTo = (random: Random): string =>
  maybe(random, 0.2, () => `  exportTo: [${one(random, ['"*"', '"."', 'shop', 'other'])}]\n`);

const destination = (random: Random): string =>
  `{host: ${anyHost(random)}${maybe(random, 0.3, () => `, subset: v${1 + below(random, 2)}`)}${maybe(random, 0.4, () => `, port: {number: ${one(random, [80, 9080])}}`)}}`;

function httpRule(random: Random, mayDelegate: boolean): string {
  const match = one(random, [
    '',
    `match: [{uri: {prefix: /${one(random, ['', 'x', 'y'])}}}]`,
    `match: [{headers: {who: {exact: me}}, port: ${one(random, [80, 9080])}}]`,
    'match: [{sourceNamespace: other}]',
  ]);
  const action = one(random, [
    () => `route: [{destination: ${destination(random)}}]`,
    () => `route: [{destination: ${destination(random)}}]`,
    () =>
      `route: [{destination: ${destination(random)}, weight: 30}, {destination: ${destination(random)}, weight: 70}]`,
    () => `route: [{destination: ${destination(random)}}], mirror: ${destination(random)}`,
    () => 'directResponse: {status: 503}',
    () => (mayDelegate ? `delegate: {name: a${below(random, 9)}, namespace: shop}` : 'redirect: {uri: /moved}'),
  ])();
  return `  - {${[match, action, maybe(random, 0.3, () => `retries: {attempts: ${1 + below(random, 3)}}`)].filter((part) => part !== '').join(', ')}}\n`;
}

function virtualService(random: Random): string {
  const delegate = random() < 0.2;
  const names = [...new Set([anyHost(random), ...(random() < 0.3 ? [anyHost(random)] : [])])];
  const wide = random() < 0.15 ? ['"*.example"'] : names;
  const annotations = maybe(random, 0.05, () => '  annotations:\n    inmesh.dev/fault-level: try\n');
  const l4 = maybe(random, delegate ? 0 : 0.2, () => `  tcp:\n  - route: [{destination: ${destination(random)}}]\n`);
  const rules = Array.from({ length: 1 + below(random, 3) }, () => httpRule(random, !delegate)).join('');
  const gateways = maybe(random, delegate ? 0 : 0.1, () => `  gateways: [${one(random, ['mesh', 'ingress'])}]\n`);
  return `${head(random, istio, 'VirtualService', delegate ? 'a' : one(random, hosts))}${annotations}spec:\n${delegate ? '' : `  hosts: [${wide.join(', ')}]\n`}${gateways}${exportTo(random)}${l4}  http:\n${rules}`;
}

function serviceEntry(random: Random): string {
  const host = one(random, ['a.example', 'b.example', 'c.example', 'a.b.example', '"*.example"']);
  const resolution = one(random, [
    'resolution: STATIC\n  endpoints: [{address: 10.0.0.1, labels: {version: v1}}, {address: 10.0.0.2, labels: {version: v2}}]',
    'resolution: STATIC\n  workloadSelector: {labels: {app: pay}}',
    'resolution: DNS\n  endpoints: [{address: db.internal, labels: {version: v1}}]',
    'resolution: NONE',
  ]);
  const ports = one(random, [
    '{number: 80, name: http, protocol: HTTP}',
    '{number: 9080, name: grpc, protocol: GRPC}, {number: 80, name: http, protocol: HTTP}',
    '{number: 5432, name: tcp, protocol: TCP}',
  ]);
  const wide = host.startsWith('"') ? 'resolution: NONE' : resolution;
  return `${head(random, istio, 'ServiceEntry')}spec:\n  hosts: [${host}]\n${exportTo(random)}  location: MESH_${one(random, ['IN', 'EX'])}TERNAL\n  ports: [${ports}]\n  ${wide}\n`;
}

function destinationRule(random: Random): string {
  const subsets = maybe(random, 0.6, () => `  subsets: [{name: v${1 + below(random, 2)}, labels: {version: v1}}]\n`);
  const policy = maybe(
    random,
    0.6,
    () => `  trafficPolicy: {connectionPool: {tcp: {maxConnections: ${1 + below(random, 9)}}}}\n`,
  );
  const host = random() < 0.2 ? '"*.example"' : anyHost(random);
  return `${head(random, istio, 'DestinationRule')}spec:\n  host: ${host}\n${exportTo(random)}${subsets}${policy}`;
}

const kinds: readonly ((random: Random) => string)[] = [
  virtualService,
  virtualService,
  virtualService,
  serviceEntry,
  serviceEntry,
  destinationRule,
  destinationRule,
  (random) =>
    `${head(random, 'v1', 'Service', 'k')}spec:\n  clusterIP: 10.1.0.${1 + below(random, 3)}\n  ports: [{name: http, port: ${one(random, [80, 9080])}, targetPort: 8080}]\n`,
  (random) =>
    `${head(random, 'v1', 'Service', 'e')}spec:\n  type: ExternalName\n  externalName: ${one(random, ['a.example', 'k0.shop.svc.cluster.local', 'away.example'])}\n  ports: [{name: http, port: 80}]\n`,
  (random) =>
    `${head(random, 'discovery.k8s.io/v1', 'EndpointSlice', 's')}  labels: {kubernetes.io/service-name: k${below(random, 2)}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [{addresses: [10.2.0.${1 + below(random, 5)}]}]\n`,
  (random) =>
    `${head(random, istio, 'WorkloadEntry')}spec: {address: 10.3.0.${1 + below(random, 5)}, labels: {app: ${one(random, ['pay', 'web'])}, version: v1}, serviceAccount: pay}\n`,
  (random) =>
    `${head(random, 'security.istio.io/v1', 'PeerAuthentication')}spec: {mtls: {mode: ${one(random, ['STRICT', 'PERMISSIVE', 'DISABLE'])}}}\n`,
  (random) =>
    `${head(random, 'security.istio.io/v1', 'AuthorizationPolicy')}spec: {action: ${one(random, ['ALLOW', 'DENY'])}, rules: [{from: [{source: {namespaces: [x${below(random, 3)}]}}]}]}\n`,
  (random) =>
    maybe(
      random,
      0.4,
      () =>
        `${head(random, istio, 'Sidecar')}spec: {egress: [{port: {number: 80, protocol: HTTP, name: x}, hosts: ["*/a.example", "./*"]}, {hosts: [${one(random, ['"*/*"', '"./*"', '"*/*.example"'])}]}]}\n`,
    ) || virtualService(random),
  (random) =>
    maybe(
      random,
      0.5,
      () =>
        `apiVersion: inmesh.dev/v1\nkind: MeshConfig\nmetadata: {name: m${below(random, 2)}}\nspec: {${one(random, ['trustDomain: td.example', 'defaultVirtualServiceExportTo: ["."]', 'defaultServiceExportTo: ["."]', 'defaultHttpRetryPolicy: {attempts: 4}', 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'])}}\n`,
    ) || serviceEntry(random),
  (random) =>
    maybe(
      random,
      0.1,
      () => `${head(random, istio, 'VirtualService')}spec: {hosts: [a.example], http: [{timeout: ten}]}\n`,
    ) || destinationRule(random),
];
