import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { describeProblem } from '../../src/config/problem.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { compileYaml, good, resourceYaml, serviceYaml, web } from './support.ts';

/** One of everything: what gets broken below. */
const seeds: readonly string[] = [
  serviceYaml(),
  resourceYaml(
    'DestinationRule',
    'reviews',
    '{host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, outlierDetection: {interval: 1s}}, subsets: [{name: v1, labels: {version: v1}}]}',
  ),
  resourceYaml(
    'DestinationRule',
    'everything',
    '{host: "*.shop.svc.cluster.local", exportTo: ["."], trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 1s}, maglev: {tableSize: 7}}, localityLbSetting: {distribute: [{from: "a/*", to: {b: 60, "c/d/*": 40}}]}, warmup: {duration: 1s}}, connectionPool: {tcp: {tcpKeepalive: {time: 1s}}, http: {h2UpgradePolicy: UPGRADE}}, retryBudget: {percent: 1}, tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, subjectAltNames: [a]}, portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, sni: a}}]}}',
  ),
  resourceYaml(
    'VirtualService',
    'reviews',
    '{hosts: [reviews], http: [{match: [{uri: {regex: "/a.*"}, headers: {x: {exact: y}}}], route: [{destination: {host: reviews, subset: v1}, weight: 10}], timeout: 1s, retries: {attempts: 2, retryOn: "5xx,503"}, rewrite: {uri: /b}}]}',
  ),
  resourceYaml(
    'WorkloadEntry',
    'vm',
    '{address: 10.0.0.9, ports: {http: 80}, labels: {app: reviews}, serviceAccount: vm}',
  ),
  resourceYaml(
    'PeerAuthentication',
    'p',
    '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}',
  ),
  resourceYaml(
    'AuthorizationPolicy',
    'a',
    '{action: DENY, rules: [{from: [{source: {notPrincipals: ["*"]}}], to: [{operation: {paths: ["/admin*"], ports: ["80"]}}]}]}',
  ),
  'apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec: {ports: [{name: http, port: 80}], clusterIP: None, selector: {app: a}}\n---\n',
  'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: a}}]\n---\n',
  'apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: a}}\nspec: {serviceAccountName: a}\n---\n',
];

const scraps = [
  '',
  ' ',
  '\n',
  '\t',
  '---\n',
  '- ',
  ': ',
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '*a',
  '&a ',
  '!!x ',
  '#',
  '|',
  '>',
  '%',
  '\u0000',
  '\uFEFF',
  '0x1',
  '-1',
  '99999999999999999999',
  'null',
  '~',
  'true',
  '__proto__',
  'constructor',
  '*',
  '..',
  '\u2028',
  '🙂',
  '1s',
  'spec',
  '<<: ',
];

/** Breaks a text in a few places: cut, double, swap, or put a scrap in. */
function mutate(text: string, pick: (below: number) => number): string {
  let result = text;
  for (let i = pick(4); i >= 0; i--) {
    const at = pick(result.length + 1);
    const length = pick(12);
    const kind = pick(4);
    const scrap =
      kind === 0 ? '' : kind === 1 ? result.slice(at, at + length).repeat(2) : (scraps[pick(scraps.length)] ?? '');
    result = result.slice(0, at) + scrap + result.slice(at + (kind === 3 ? 0 : length));
  }
  return result;
}

t.test('the seeds themselves are good', async (t) => {
  t.ok(good(seeds).snapshot.hosts.size > 0);
});

t.test('broken text is compiled or refused with a place; nothing is thrown, nothing polluted', async (t) => {
  const random = seededRandom(20_261_120);
  const pick = (below: number): number => Math.floor(random() * below);
  let accepted = 0;
  for (let i = 0; i < 1_500; i++) {
    const text = mutate(seeds[i % seeds.length] ?? '', pick);
    const result = compileYaml([text, serviceYaml()]);
    if (result.ok) accepted++;
    else if (result.problems.some((problem) => problem.at?.line === undefined || problem.message === '')) {
      t.fail(`no place: ${result.problems.map(describeProblem).join('\n')}\n${text}`);
    }
  }
  t.ok(accepted > 20 && accepted < 1_450, `${accepted} of 1,500 were still good`);
  t.same(Object.keys(Object.prototype), []);
});

/** Replaces one value somewhere inside. */
function replaceSomewhere(value: unknown, by: unknown, pick: (below: number) => number): unknown {
  if (typeof value !== 'object' || value === null || pick(5) === 0) return by;
  const keys = Object.keys(value);
  const key = keys[pick(keys.length)];
  if (key === undefined) return by;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...value] : { ...value };
  const inner = (value as Record<string, unknown>)[key];
  Object.defineProperty(copy, key, { value: replaceSomewhere(inner, by, pick), enumerable: true });
  return copy;
}

t.test('any value in any place is compiled or refused; nothing is thrown', async (t) => {
  const documents = seeds.flatMap((text) => parseYaml(text).documents);
  const values = [
    null,
    true,
    0,
    -1,
    1.5,
    Number.POSITIVE_INFINITY,
    '',
    'x',
    '*',
    '-1s',
    [],
    {},
    [null],
    [[]],
    { a: {} },
    'x'.repeat(5_000),
    '\r\n',
    undefined,
  ];
  const random = seededRandom(7);
  const pick = (below: number): number => Math.floor(random() * below);
  let accepted = 0;
  for (let i = 0; i < 2_500; i++) {
    const at = pick(documents.length);
    const by = values[pick(values.length)];
    const broken = documents.map((document, index) => {
      if (index !== at) return document;
      return { ...document, value: replaceSomewhere(document.value, by, pick) };
    });
    if (compile(broken, { workload: web }).ok) accepted++;
  }
  t.ok(accepted > 100 && accepted < 2_450, `${accepted} of 2,500 were still good`);
});
