import t from 'tap';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

const mesh = (spec: string): string => `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {${spec}}}\n---\n`;
const kubernetes = (annotation = ''): string => `
apiVersion: v1
kind: Service
metadata: {name: k, namespace: shop${annotation === '' ? '' : `, annotations: {networking.istio.io/exportTo: "${annotation}"}`}}
spec: {ports: [{port: 80, name: http}]}
---
`;
const from = (namespace: string): TestCompileOptions => ({ workload: { namespace } });
const entry = (exportTo: string): string => serviceYaml().replace('spec:\n', `spec:\n  exportTo: [${exportTo}]\n`);
/** Is the service seen from the own namespace, and from another? */
const seen = (text: string, host: string): readonly boolean[] =>
  ['shop', 'front'].map((namespace) =>
    good(text, from(namespace)).snapshot.hosts.has(`${host}.shop.svc.cluster.local:80`),
  );

t.test('defaultServiceExportTo is for services that say nothing, of both kinds', async (t) => {
  const cases: readonly (readonly [spec: string, own: boolean, other: boolean])[] = [
    ['', true, true],
    ['defaultServiceExportTo: []', true, true],
    ['defaultServiceExportTo: ["*"]', true, true],
    ['defaultServiceExportTo: ["."]', true, false],
    ['defaultServiceExportTo: [".", "*"]', true, true],
    ['defaultServiceExportTo: ["~"]', false, false],
    ['defaultServiceExportTo: [front]', false, true],
    ['defaultServiceExportTo: [".", front]', true, true],
    ['defaultServiceExportTo: ["~", front]', false, false],
  ];
  for (const [spec, own, other] of cases) {
    t.same(seen(serviceYaml() + mesh(spec), 'reviews'), [own, other], `ServiceEntry: ${spec}`);
    t.same(seen(kubernetes() + mesh(spec), 'k'), [own, other], `Service: ${spec}`);
  }
});

t.test('what a service says itself goes before the default', async (t) => {
  const hidden = mesh('defaultServiceExportTo: ["."]');
  t.same(seen(entry('"*"') + hidden, 'reviews'), [true, true]);
  t.same(seen(entry('front') + hidden, 'reviews'), [false, true]);
  t.same(seen(entry('".", front') + hidden, 'reviews'), [true, true]);
  t.same(seen(entry('"~"'), 'reviews'), [false, false]);
  t.same(seen(kubernetes('*') + hidden, 'k'), [true, true]);
  t.same(seen(kubernetes(' front , shop '), 'k'), [true, true]);
  t.same(seen(kubernetes('.'), 'k'), [true, false]);
  t.same(seen(kubernetes('~'), 'k'), [false, false]);
});

t.test('defaultVirtualServiceExportTo', async (t) => {
  const rule = (exportTo = ''): string =>
    resourceYaml(
      'VirtualService',
      'r',
      `{hosts: [reviews], http: [{name: ruled, route: [{destination: {host: reviews}}]}]${exportTo}}`,
    );
  const ruled = (text: string): readonly boolean[] =>
    ['shop', 'front'].map(
      (namespace) => good(serviceYaml() + text, from(namespace)).routes('reviews.shop:80')[0]?.name === 'ruled',
    );
  t.same(ruled(rule()), [true, true]);
  t.same(ruled(rule() + mesh('defaultVirtualServiceExportTo: ["."]')), [true, false]);
  t.same(ruled(rule() + mesh('defaultVirtualServiceExportTo: ["~"]')), [false, false]);
  t.same(ruled(rule() + mesh('defaultVirtualServiceExportTo: [front]')), [false, true]);
  t.same(ruled(rule(', exportTo: [front]') + mesh('defaultVirtualServiceExportTo: ["."]')), [false, true]);
  t.same(ruled(rule() + mesh('defaultServiceExportTo: ["*"], defaultDestinationRuleExportTo: ["."]')), [true, true]);
});

t.test('defaultDestinationRuleExportTo: only a dot makes a difference', async (t) => {
  const rule = resourceYaml('DestinationRule', 'r', '{host: reviews, trafficPolicy: {loadBalancer: {simple: RANDOM}}}');
  const random = (spec: string): readonly boolean[] =>
    ['shop', 'front'].map(
      (namespace) =>
        good(serviceYaml() + rule + mesh(spec), from(namespace)).cluster('reviews|80')?.balance === 'RANDOM',
    );
  t.same(random(''), [true, true]);
  t.same(random('defaultDestinationRuleExportTo: ["."]'), [true, false]);
  t.same(random('defaultDestinationRuleExportTo: ["~"]'), [true, true]);
  t.same(random('defaultDestinationRuleExportTo: [other]'), [true, true]);
});

t.test("lists that Istio's webhook refuses", async (t) => {
  const rule = (exportTo: string): string =>
    resourceYaml('DestinationRule', 'r', `{host: reviews, exportTo: [${exportTo}]}`);
  const bad: readonly (readonly [text: string, message: RegExp])[] = [
    [rule('"*", "."'), /exportTo.*\*/],
    [rule('a, a'), /exportTo\[1\]: is there twice/],
    [rule('".", shop'), /exportTo\[1\]: is there twice/],
    [rule('"~"'), /exportTo\[0\]: .*~/],
    [rule('a_b'), /exportTo\[0\]: must be/],
    [entry('"~", shop'), /exportTo/],
    [entry('"*", shop'), /exportTo/],
    [
      resourceYaml('DestinationRule', 'r', '{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: ["*"]}'),
      /exportTo/,
    ],
  ];
  for (const [text, message] of bad) t.match(problems(text)[0], message, text);
  for (const fine of ['"."', '"*"', 'a, b', '"., b"'.replace('., ', '.", "')]) t.same(problems(rule(fine)), [], fine);
});
