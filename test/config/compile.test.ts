import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { describePlace, describeProblem, describeResource, showValue } from '../../src/config/problem.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { compileYaml, good, problems, resourceYaml, serviceYaml, web } from './support.ts';

t.test('nothing at all is a snapshot with nothing in it', async (t) => {
  t.match(good('').snapshot, {
    outboundPolicy: 'ALLOW_ANY',
    inbound: { mtls: { mode: 'PERMISSIVE' }, authorization: [] },
    wildcardHosts: [],
  });
  t.equal(good('').snapshot.hosts.size, 0);
  t.equal(good('', { outboundPolicy: 'REGISTRY_ONLY' }).snapshot.outboundPolicy, 'REGISTRY_ONLY');
});

t.test('one bad resource refuses all of them, and every problem is said', async (t) => {
  const bad = resourceYaml(
    'VirtualService',
    'v',
    '{hosts: [reviews], http: [{timeout: soon, route: [{destination: {host: reviews, subset: x}}]}]}',
  );
  const worse = resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: strict}}');
  const found = problems([serviceYaml(), bad, worse]);
  t.equal(found.length, 2);
  t.match(found, [
    /^1\.yaml:5:\d+: VirtualService shop\/v: spec\.http\[0\]\.timeout: /,
    /^2\.yaml:5:\d+: PeerAuthentication shop\/p: spec\.mtls\.mode: .*did you mean STRICT/,
  ]);
});

t.test('the version depends on the content alone', async (t) => {
  const version = (...texts: readonly string[]): string => good(texts).snapshot.version;
  t.equal(version(serviceYaml()), version(`# a comment\n\n${serviceYaml()}`));
  t.not(version(serviceYaml()), version(serviceYaml('other')));
  t.not(version(serviceYaml()), good(serviceYaml(), { workload: { namespace: 'front' } }).snapshot.version);
  t.match(version(''), /^[0-9a-f]{12}$/);
});

t.test('what did not change keeps its identity', async (t) => {
  const before = good([serviceYaml('a'), serviceYaml('b')]).snapshot;
  const after = good([serviceYaml('a'), serviceYaml('b').replace('10.0.0.2', '10.0.0.3')], {
    previous: before,
  }).snapshot;
  const same = (name: string): boolean => before.hosts.get(name) === after.hosts.get(name);
  t.ok(same('a:80') && same('b:80'));
  t.equal(
    before.clusters.get('outbound|80||a.shop.svc.cluster.local'),
    after.clusters.get('outbound|80||a.shop.svc.cluster.local'),
  );
  t.not(
    before.clusters.get('outbound|80||b.shop.svc.cluster.local'),
    after.clusters.get('outbound|80||b.shop.svc.cluster.local'),
  );
  t.equal(before.inbound, after.inbound);
});

t.test('all versions of the API are read alike', async (t) => {
  const of = (version: string): unknown => {
    const yaml =
      serviceYaml() +
      resourceYaml('DestinationRule', 'r', '{host: reviews, trafficPolicy: {loadBalancer: {simple: RANDOM}}}');
    return good(yaml.replaceAll('istio.io/v1\n', `istio.io/${version}\n`)).snapshot.clusters;
  };
  t.same(of('v1beta1'), of('v1'));
  t.same(of('v1alpha3'), of('v1'));
});

t.test('compiling changes nothing that it was given, and can be repeated', async (t) => {
  const { documents } = parseYaml(serviceYaml());
  const text = JSON.stringify(documents);
  t.same(compile(documents, { workload: web }), compile(documents, { workload: web }));
  t.equal(JSON.stringify(documents), text);
});

t.test('a thousand services with routes and rules are nothing special', async (t) => {
  const one = (name: string): string =>
    serviceYaml(name) +
    resourceYaml('VirtualService', name, `{hosts: [${name}], http: [{route: [{destination: {host: ${name}}}]}]}`) +
    resourceYaml('DestinationRule', name, `{host: ${name}}`);
  const { snapshot } = good(Array.from({ length: 1_000 }, (_, i) => one(`s${i}`)).join(''));
  t.equal(snapshot.hosts.size, 4_000);
  t.equal(snapshot.clusters.size, 1_000);
});

t.test('a problem is one line with place, resource, field and value', async (t) => {
  const at = { kind: 'VirtualService', namespace: 'shop', name: 'a', file: 'mesh/a.yaml', line: 12, column: 7 };
  t.equal(
    describeProblem({ message: 'must be an integer', at, field: 'spec.http[0].route[1].weight', value: '"ten"' }),
    'mesh/a.yaml:12:7: VirtualService shop/a: spec.http[0].route[1].weight: must be an integer, got "ten"',
  );
  t.equal(describeProblem({ message: 'is gone' }), 'is gone');
  t.equal(describeProblem({ message: 'is wrong', at: { kind: 'Pod', namespace: '', name: '' } }), 'Pod: is wrong');
  t.equal(describePlace({ kind: '', namespace: '', name: '' }), '<text>:1:1');
  t.equal(describeResource({ kind: 'Pod', namespace: '', name: 'a' }), 'Pod a');
  t.equal(showValue('x'.repeat(200)).length, 81);
  t.equal(showValue(undefined), 'undefined');
  t.equal(showValue(10n), '10');
});

t.test('compileYaml refuses text that is no YAML before it compiles', async (t) => {
  t.match(compileYaml(['a: [', serviceYaml()]), { ok: false });
});
