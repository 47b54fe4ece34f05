import t from 'tap';
import { shopWeb } from '../support/inbound.ts';
import { good, problems, resourceYaml } from './support.ts';

const config = (name: string, spec: string, namespace = 'shop'): string =>
  resourceYaml('ProxyConfig', name, `{${spec}}`, namespace).replace('istio.io/v1\n', 'istio.io/v1beta1\n');

t.test('a ProxyConfig is checked, and reported as without effect', async (t) => {
  const full =
    'selector: {matchLabels: {app: web}}, concurrency: 0, environmentVariables: {A: "b\\nc"}, image: {imageType: distroless}';
  t.match(good(config('a', full)).remarks(), [/^ProxyConfig ignored \(warning\): there is no proxy: /]);
  const bad: readonly (readonly [spec: string, message: RegExp])[] = [
    ['concurrency: -1', /spec\.concurrency: must be an integer from 0/],
    ['concurrency: many', /spec\.concurrency: must be an integer/],
    ['selector: {matchLabels: {app: "w*"}}', /matchLabels\.app: must be a label value/],
    [
      'environmentVariables: {A: 1}',
      /environmentVariables\.A: must be a text of at most 2048 characters; put it in quotes/,
    ],
    [`environmentVariables: {A: ${'a'.repeat(2_049)}}`, /environmentVariables\.A: must be a text of at most 2048/],
    ['image: {kind: a}', /spec\.image\.kind: is not a/],
    ['treads: 1', /spec\.treads: is not a/],
  ];
  for (const [spec, message] of bad) t.match(problems(config('a', spec)), [message], spec);
});

t.test('two for one workload are a mistake: the older one counts', async (t) => {
  const warnings = (text: string): readonly string[] =>
    good(text)
      .remarks()
      .filter((remark) => remark.includes('is older'));
  const web = 'selector: {matchLabels: {app: web}}';
  t.match(warnings(config('a', '') + config('b', '')), [
    /ProxyConfig spec ignored \(warning\): ProxyConfig shop\/a .* is older/,
  ]);
  t.equal(warnings(config('a', web) + config('b', web)).length, 1);
  t.equal(warnings(config('a', '', 'istio-system') + config('b', '', 'istio-system')).length, 1);
  t.same(warnings(config('a', '') + config('b', web)), [], 'one for the namespace and one for the workload');
  t.same(warnings(config('a', '') + config('b', '', 'istio-system')), []);
  t.same(warnings(config('a', '', 'other') + config('b', '', 'other')), [], 'not for this workload');
  t.same(warnings(config('a', web) + config('b', 'selector: {matchLabels: {app: api}}')), []);
});

t.test('the annotation of a pod is reported', async (t) => {
  const pod = `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, annotations: {proxy.istio.io/config: "concurrency: 2"}}, spec: {}}`;
  t.same(good(pod).remarks(), [
    'Pod metadata.annotations["proxy.istio.io/config"] ignored (warning): configures the proxy, and there is none',
  ]);
});

const own = (annotation: string, labels = '{app: web, version: v1}', namespace = 'shop', name = 'p'): string =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: ${namespace}, labels: ${labels}, annotations: {proxy.istio.io/config: ${JSON.stringify(annotation)}}}, spec: {}}`;
const topology = (count: number | string): string => `gatewayTopology: {numTrustedProxies: ${count}}`;
const meshWith = (count: number | string): string =>
  `apiVersion: inmesh.dev/v1\nkind: MeshConfig\nspec: {defaultConfig: {${topology(count)}}}\n---\n`;
const trusted = (text: string): number | undefined =>
  good(text, { workload: shopWeb }).snapshot.inbound.numTrustedProxies;

t.test('trusted proxies are counted in the MeshConfig, or in the annotation of the own pods', async (t) => {
  t.equal(trusted(''), undefined);
  t.equal(trusted(meshWith(2)), 2);
  t.equal(trusted(meshWith(0)), undefined);
  t.equal(trusted(own(topology(3))), 3);
  t.equal(trusted(meshWith(2) + own(topology(0))), undefined, 'the annotation goes before the mesh');
  t.equal(trusted(own('{"gateway_topology": {"num_trusted_proxies": 1}}')), 1, 'names of the protobuf, as JSON');
  t.equal(trusted(meshWith(2) + own('concurrency: 2')), 2, 'it says something else');
  t.equal(trusted(meshWith(2) + own(topology(9), '{app: web}')), 2, 'a pod of another workload');
  t.equal(trusted(meshWith(2) + own(topology(9), undefined, 'other')), 2, 'a pod elsewhere');
  const three = [3, 1, 2].map((count) => own(topology(count), undefined, undefined, `p${count}`));
  t.equal(trusted(three.join('\n---\n')), 1, 'the lowest');
  t.match(good(own(topology(3)), { workload: shopWeb }).remarks(), [
    /annotations\["proxy\.istio\.io\/config"\] approximated \(warning\): of it only gatewayTopology\.numTrustedProxies/,
  ]);
  const policy = (rule: string, labels = 'app: web'): string =>
    resourceYaml(
      'AuthorizationPolicy',
      'p',
      `{selector: {matchLabels: {${labels}}}, rules: [${rule}]}`,
      'shop',
    ).replace('networking.istio.io', 'security.istio.io');
  const remote =
    '{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}], when: [{key: remote.ip, notValues: [10.1.0.0/16]}]}';
  const warnings = (text: string): readonly string[] => good(text, { workload: shopWeb }).remarks();
  t.match(warnings(policy(remote)), [
    /rules\[0\]\.from\[0\]\.source\.remoteIpBlocks enforced \(warning\): no proxy is trusted to tell the address/,
    /rules\[0\]\.when\[0\]\.key enforced \(warning\): no proxy is trusted/,
  ]);
  t.same(warnings(policy(remote, 'app: other')), [], 'not for this workload');
  t.same(warnings(policy('{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}')), []);
  t.notMatch(warnings(meshWith(1) + policy(remote)).join(), /no proxy is trusted/);
  const wrong = (text: string) => problems(text, { workload: shopWeb });
  t.match(wrong(own('{')), [/must be a ProxyConfig in YAML/]);
  t.match(wrong(own(topology(-1))), [/must have a number from 0 to 4294967295 as numTrustedProxies, got -1/]);
  t.match(wrong(own(topology('many'))), [/numTrustedProxies, got "many"/]);
  t.match(wrong(meshWith(-1)), [/numTrustedProxies: must be an integer from 0/]);
});
