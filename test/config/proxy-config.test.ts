import t from 'tap';
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
