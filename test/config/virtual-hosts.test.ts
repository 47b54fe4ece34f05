import t from 'tap';
import { hostAndPort } from '../../src/config/host-compiler.ts';
import { shortNames } from '../../src/config/virtual-hosts.ts';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions, web } from './support.ts';

const names = (yaml: string, options?: TestCompileOptions): readonly string[] =>
  [...good(yaml, options).snapshot.hosts.keys()].sort();
const route = (host: string, timeout: string, name = `v${timeout}`, more = '', namespace = 'shop'): string =>
  resourceYaml(
    'VirtualService',
    name,
    `{hosts: ["${host}"], http: [{timeout: ${timeout}, route: [{destination: {host: reviews.shop.svc.cluster.local}}]}] ${more}}`,
    namespace,
  );
const timeoutOf = (yaml: string, options?: TestCompileOptions, name = 'reviews.shop:80') =>
  good(serviceYaml() + yaml, options).routes(name)[0]?.timeoutMs;

t.test('names of a service: the short one only in its own namespace', async (t) => {
  t.same(names(serviceYaml()), [
    'reviews.shop.svc.cluster.local:80',
    'reviews.shop.svc:80',
    'reviews.shop:80',
    'reviews:80',
  ]);
  t.same(names(serviceYaml(), { workload: { namespace: 'front' } }), [
    'reviews.shop.svc.cluster.local:80',
    'reviews.shop.svc:80',
    'reviews.shop:80',
  ]);
  t.same(shortNames('a.b.svc.other', web), []);
  t.same(shortNames('a.shop.svc.example.org', { ...web, clusterDomain: 'example.org' }), ['a', 'a.shop', 'a.shop.svc']);
  t.same(shortNames('api.example.com', web), []);
  t.same(shortNames('svc.cluster.local', web), []);
  t.equal(hostAndPort('::1', 80), '[::1]:80');
});

t.test('all names of a service share one virtual host', async (t) => {
  const { hosts } = good(serviceYaml()).snapshot;
  t.equal(new Set(hosts.values()).size, 1);
  t.equal(hosts.get('reviews:80')?.name, 'reviews.shop.svc.cluster.local:80');
});

t.test('a service without a VirtualService has a default route with the default retries', async (t) => {
  t.match(good(serviceYaml()).routes('reviews:80'), [
    {
      name: 'default',
      matches: [],
      destinations: [{ cluster: 'outbound|80||reviews.shop.svc.cluster.local', weight: 1 }],
      retry: { attempts: 2 },
    },
  ]);
});

t.test('a full name is not taken away by the short name of another service', async (t) => {
  const bare = serviceYaml('other').replace('hosts: [other.shop.svc.cluster.local]', 'hosts: [reviews]');
  for (const yaml of [serviceYaml() + bare, bare + serviceYaml()]) {
    const { snapshot } = good(yaml);
    t.equal(snapshot.hosts.get('reviews:80')?.name, 'reviews:80');
    t.equal(snapshot.hosts.get('reviews.shop:80')?.name, 'reviews.shop.svc.cluster.local:80');
  }
});

t.test('the hosts of a VirtualService: short names belong to its namespace, dotted names are complete', async (t) => {
  t.equal(timeoutOf(route('reviews', '1s')), 1_000);
  t.equal(timeoutOf(route('Reviews.shop.svc.cluster.local', '1s')), 1_000);
  t.equal(timeoutOf(route('reviews', '1s', 'v', '', 'front')), undefined);
  t.equal(timeoutOf(route('reviews.shop.svc.cluster.local', '1s', 'v', '', 'front')), 1_000);
  // In Istio a half name is a host of its own: it serves that name, and no other of the service.
  t.equal(timeoutOf(route('reviews.shop', '1s'), {}, 'reviews.shop:80'), 1_000);
  t.equal(timeoutOf(route('reviews.shop', '1s'), {}, 'reviews:80'), undefined);
  t.match(good(serviceYaml() + route('reviews.shop', '1s')).remarks(), [
    /spec\.hosts\[0\] enforced \(warning\): is not expanded; the service is reviews\.shop\.svc\.cluster\.local/,
  ]);
});

t.test('an exact host goes before a wildcard, and a longer wildcard before a shorter', async (t) => {
  t.equal(timeoutOf(route('*.shop.svc.cluster.local', '1s')), 1_000);
  t.equal(timeoutOf(route('*.local', '1s') + route('*.shop.svc.cluster.local', '2s')), 2_000);
  t.equal(timeoutOf(route('*.shop.svc.cluster.local', '1s') + route('reviews', '2s')), 2_000);
});

t.test('of two VirtualServices for a host the older counts, and the other is reported', async (t) => {
  const dated = (timeout: string, created: string): string =>
    route('reviews', timeout).replace(`{name: v${timeout},`, `{name: v${timeout}, creationTimestamp: "${created}",`);
  const { routes, remarks } = good(
    serviceYaml() + dated('1s', '2026-02-01T00:00:00Z') + dated('2s', '2026-01-01T00:00:00Z'),
  );
  t.equal(routes('reviews:80')[0]?.timeoutMs, 2_000);
  t.same(remarks(), [
    'VirtualService spec.hosts[0] ignored (warning): VirtualService shop/v2s (0.yaml:21:1) already routes reviews.shop.svc.cluster.local',
  ]);
  t.equal(timeoutOf(route('reviews', '2s') + route('reviews', '1s')), 1_000, 'without dates by name');
});

t.test('those made for the namespace go before public ones', async (t) => {
  const far = 'reviews.shop.svc.cluster.local';
  const open = route(far, '1s');
  t.equal(timeoutOf(open + route(far, '2s', 'b', ', exportTo: ["."]')), 2_000);
  t.equal(timeoutOf(open + route(far, '2s', 'b', ', exportTo: [shop]', 'front')), 2_000);
  t.equal(timeoutOf(open + route(far, '2s', 'z', ', exportTo: ["*"]')), 1_000);
  t.equal(timeoutOf(open + route(far, '2s', 'b', ', exportTo: ["*"]')), 2_000, 'of equal age: by name');
  t.equal(timeoutOf(route(far, '2s', 'b', ', exportTo: ["."]', 'front')), undefined, 'not visible here');
  const own = route(far, '2s', 'b', ', exportTo: [shop, front]');
  t.equal(timeoutOf(route(far, '1s', 'a', ', exportTo: ["."]') + own), 1_000, 'its own name says no more than a dot');
  t.equal(timeoutOf(route(far, '1s', 'a', ', exportTo: [".", shop]', 'front') + own), 2_000, 'a dot is not of all');
});

t.test('a VirtualService without a rule for a port leaves that port to the next', async (t) => {
  const two = serviceYaml().replace(
    'name: http, protocol: HTTP}]',
    'name: http, protocol: HTTP}, {number: 81, name: http-b, protocol: HTTP}]',
  );
  const first = resourceYaml(
    'VirtualService',
    'a',
    '{hosts: [reviews], http: [{name: first, match: [{port: 81}], route: [{destination: {host: reviews}}]}]}',
  );
  const second = resourceYaml(
    'VirtualService',
    'b',
    '{hosts: [reviews], http: [{name: second, route: [{destination: {host: reviews}}]}]}',
  );
  const { snapshot } = good(two + first + second);
  t.match(snapshot.hosts.get('reviews:80'), {
    routes: [{ name: 'second' }],
    skipped: [{ name: 'first', reason: 'match[0]: port is 81, and this is port 80' }],
  });
  t.match(snapshot.hosts.get('reviews:81')?.routes, [{ name: 'first' }]);
  t.notOk('skipped' in (snapshot.hosts.get('reviews:81') ?? {}));
  const wide = first.replaceAll('hosts: [reviews]', 'hosts: ["*.shop.svc.cluster.local"]');
  const wider = second.replaceAll('hosts: [reviews]', 'hosts: ["*.svc.cluster.local"]');
  t.match(good(two + wide + wider).routes('reviews:80'), [{ name: 'default' }], 'of wildcards only the most specific');
});

t.test('a VirtualService may see to the ports of HTTP and be of no matter to others', async (t) => {
  const tcp = serviceYaml().replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP');
  t.match(good(tcp + route('reviews', '1s')).routes('reviews:80'), [{ name: 'default' }]);
});

t.test('hosts that Istio accepts, and how they are served', async (t) => {
  const of = (hosts: string): readonly string[] => {
    const yaml = resourceYaml('VirtualService', 'v', `{hosts: [${hosts}], http: [{redirect: {uri: /}}]}`);
    const { snapshot } = good(serviceYaml() + yaml);
    const named = [...snapshot.hosts]
      .filter(([, { routes }]) => routes[0]?.redirect !== undefined)
      .map(([name]) => name);
    return [...named, ...snapshot.wildcardHosts.map(({ suffix, port }) => `*${suffix}:${port}`)].sort();
  };
  t.same(of('reviews').length, 4, 'all names of the service');
  t.same(of('a.example.'), ['a.example:80']);
  t.same(of('"*.a.example"'), ['*.a.example:80']);
  t.same(of('"*-v1.a.example"'), ['*-v1.a.example:80']);
  t.same(of('"*v1.a.example"'), ['*v1.a.example:80']);
  t.same(of('10.0.0.9'), ['10.0.0.9:80']);
  t.same(of('"fd00::1"'), ['[fd00::1]:80']);
  t.same(of('"fe80::1%eth0"'), ['[fe80::1%eth0]:80']);
  t.same(of('"*."'), ['*.:80']);
  t.same(of('short'), ['short.shop.svc.cluster.local:80']);
  t.same(of('a.example, b.example'), ['a.example:80', 'b.example:80']);
});

const refusedHosts: readonly (readonly [spec: string, message: RegExp])[] = [
  ['hosts: ["a b"]', /hosts\[0\]: must be a host name/],
  ['hosts: ["a.*.b"]', /must be a host name/],
  ['hosts: ["a*.b"]', /must be a host name/],
  ['hosts: ["a_b.example"]', /must be a host name/],
  ['hosts: ["a.123"]', /must be a host name/],
  ['hosts: [""]', /must be a host name/],
  ['hosts: ["*"]', /must not be \* in the mesh/],
  ['hosts: ["*"], gateways: [mesh, edge]', /must not be \* in the mesh/],
  ['hosts: ["*.b", a.b]', /hosts\[1\]: is there twice: \*\.b covers the same names, got "a\.b"/],
  ['hosts: [a.b, "*.b"]', /hosts\[1\]: is there twice: a\.b covers the same names/],
  ['hosts: [a.b, a.b]', /hosts\[1\]: is there twice, got "a\.b"/],
  ['hosts: [a], gateways: ["/a"]', /gateways\[0\]: must be mesh or <namespace>\/<name>/],
  ['hosts: [a], exportTo: ["~"]', /exportTo\[0\]/],
  ['hosts: [a], exportTo: [".", shop]', /exportTo\[1\]: is there twice/],
  ['hosts: [a], exportTo: ["*", b]', /exportTo/],
];
for (const [spec, message] of refusedHosts) {
  t.test(`refused: ${spec}`, async (t) => {
    const yaml = resourceYaml('VirtualService', 'v', `{${spec}, http: [{redirect: {uri: /}}]}`);
    t.match(problems(yaml).join('\n'), message);
  });
}

t.test('for gateways more hosts are allowed', async (t) => {
  for (const hosts of ['"*"', '"outbound_.80_._.reviews.shop.svc.cluster.local"']) {
    const tls = `tls: [{match: [{sniHosts: [${hosts}]}], route: [{destination: {host: reviews}}]}]`;
    const yaml = resourceYaml('VirtualService', 'v', `{hosts: [${hosts}], gateways: [edge], ${tls}}`);
    t.same(problems(yaml), [], hosts);
  }
});

t.test('a destination without a port, on a port that it does not have, is warned of', async (t) => {
  const yaml =
    serviceYaml('a', 9_000) +
    serviceYaml() +
    resourceYaml('VirtualService', 'v', '{hosts: [a], http: [{route: [{destination: {host: reviews}}]}]}');
  t.match(good(yaml).remarks(), [
    /destination enforced \(warning\): reviews\.shop\.svc\.cluster\.local has no port 9000, which is taken from the request: .*write port: \{number: 80\}/,
  ]);
  t.same(good(yaml.replace('{host: reviews}', '{host: reviews, port: {number: 80}}')).remarks(), []);
  const matched = yaml.replace('http: [{', 'http: [{match: [{port: 80}], ');
  t.same(good(matched).remarks(), [], 'where the rule is for another port');
});

t.test('a VirtualService of which no route applies leaves the default', async (t) => {
  const vs = resourceYaml(
    'VirtualService',
    'v',
    '{hosts: [reviews], http: [{match: [{sourceNamespace: other}], route: [{destination: {host: reviews}}]}]}',
  );
  t.equal(good(serviceYaml() + vs).routes('reviews:80')[0]?.name, 'default');
});

t.test(
  'a host without a service is served on port 80, and on those of the services beside it, as in Istio',
  async (t) => {
    const { snapshot, routes } = good(serviceYaml() + route('api.example.com', '1s'));
    t.equal(routes('api.example.com:80')[0]?.destinations[0]?.cluster, 'outbound|80||reviews.shop.svc.cluster.local');
    t.equal(snapshot.hosts.get('api.example.com:80')?.name, 'api.example.com:80');
    const beside = (hosts: string) =>
      good(
        serviceYaml('a', 9_000) +
          serviceYaml('b', 9_001) +
          resourceYaml(
            'VirtualService',
            'v',
            `{hosts: [${hosts}, api.example.com], http: [{route: [{destination: {host: a}}]}]}`,
          ),
      ).snapshot.hosts;
    const ports = (hosts: string): readonly string[] =>
      [...beside(hosts).keys()].filter((name) => name.startsWith('api.'));
    t.same(ports('a'), ['api.example.com:80', 'api.example.com:9000']);
    const all = ['api.example.com:80', 'api.example.com:9000', 'api.example.com:9001'];
    t.same(ports('a, b'), all);
    t.same(ports('"*.shop.svc.cluster.local"'), all);
    t.same(ports('other.example.com'), ['api.example.com:80']);
    const wide = good(serviceYaml() + route('*.example.com', '1s') + route('*.deep.example.com', '2s'));
    t.match(wide.snapshot.wildcardHosts, [
      { suffix: '.deep.example.com', port: 80 },
      { suffix: '.example.com', port: 80 },
    ]);
  },
);

t.test('a service of a VirtualService is served on port 80 too, by its full name, as in Istio', async (t) => {
  const { hosts } = good(serviceYaml('a', 9_000) + route('a', '1s')).snapshot;
  t.match(hosts.get('a.shop.svc.cluster.local:80'), { routes: [{ timeoutMs: 1_000 }] });
  t.same([hosts.has('a:80'), hosts.has('a:9000'), hosts.has('a.shop:9000')], [false, true, true]);
  const tcp = serviceYaml('a').replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP');
  t.match(good(tcp + route('a', '1s')).routes('a.shop.svc.cluster.local:80'), [{ name: 'default' }], 'has port 80');
});

t.test('a service is served on the ports of the services beside it in a VirtualService', async (t) => {
  const both = '{hosts: [a, b], http: [{timeout: 2s, route: [{destination: {host: a}}]}]}';
  const yaml = serviceYaml('a', 9_000) + serviceYaml('b', 9_001) + resourceYaml('VirtualService', 'z', both);
  const { hosts } = good(yaml).snapshot;
  t.match(hosts.get('b.shop.svc.cluster.local:9000'), {
    routes: [{ timeoutMs: 2_000, destinations: [{ cluster: 'outbound|9000||a.shop.svc.cluster.local' }] }],
  });
  t.same([...hosts.keys()].filter((name) => name.startsWith('b.shop.svc.cluster.local')).sort(), [
    'b.shop.svc.cluster.local:80',
    'b.shop.svc.cluster.local:9000',
    'b.shop.svc.cluster.local:9001',
  ]);
});

t.test('of those that name a host without a service only the ones with a service on a port serve it', async (t) => {
  const beside = '{hosts: [api.example.com, a], http: [{timeout: 2s, route: [{destination: {host: a}}]}]}';
  const yaml =
    serviceYaml('a', 9_000) + route('api.example.com', '1s', 'a') + resourceYaml('VirtualService', 'b', beside);
  const { routes } = good(yaml);
  t.equal(routes('api.example.com:80')[0]?.timeoutMs, 1_000);
  t.equal(routes('api.example.com:9000')[0]?.timeoutMs, 2_000);
});

t.test('a wildcard of a VirtualService and services with wildcards', async (t) => {
  const wild = (host: string): string =>
    serviceYaml('w').replace('hosts: [w.shop.svc.cluster.local]', `hosts: ["${host}"]`);
  const served = (yaml: string): readonly (number | undefined)[] =>
    good(yaml).snapshot.wildcardHosts.map(({ virtualHost }) => virtualHost.routes[0]?.timeoutMs);
  t.same(served(wild('*.b.example') + route('*.example', '1s')), [1_000], 'that of the service');
  t.same(served(wild('*.example') + route('*.b.example', '1s')), [undefined], 'not where a service has a wider one');
  const first = route('*.example', '1s', 'a').replace('http: [{', 'http: [{match: [{port: 81}], ');
  t.same(served(wild('*.example') + first + route('*.example', '2s', 'b')), [undefined], 'the first alone');
});

t.test('a host that is named without rules for HTTP is not left to a wildcard', async (t) => {
  const named = resourceYaml(
    'VirtualService',
    'n',
    '{hosts: [reviews], tcp: [{route: [{destination: {host: reviews}}]}]}',
  );
  t.equal(timeoutOf(named + route('*.shop.svc.cluster.local', '1s')), undefined);
  const wide = named.replace('hosts: [reviews]', 'hosts: ["*.cluster.local"]');
  t.equal(timeoutOf(wide + route('*.shop.svc.cluster.local', '1s')), 1_000, 'a longer wildcard');
  t.equal(timeoutOf(wide + route('*.local', '1s')), undefined, 'a shorter wildcard');
});

t.test('only clusters that are used exist', async (t) => {
  const vs = resourceYaml(
    'VirtualService',
    'v',
    '{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}',
  );
  const rule = resourceYaml('DestinationRule', 'r', '{host: reviews, subsets: [{name: v1}, {name: v2}]}');
  t.same(
    [...good(serviceYaml() + rule + vs).snapshot.clusters.keys()],
    ['outbound|80|v1|reviews.shop.svc.cluster.local'],
  );
});

t.test('two ports of a host share the rules that say the same for both', async (t) => {
  const rules = [
    '{name: settled, match: [{uri: {prefix: /settled}}], route: [{destination: {host: a, port: {number: 9000}}}]}',
    '{name: open, match: [{uri: {prefix: /open}}], mirrors: [{destination: {host: a}}], route: [{destination: {host: a}}]}',
    '{name: one, match: [{port: 80, uri: {prefix: /one}}], route: [{destination: {host: a, port: {number: 9000}}}]}',
    '{name: away, match: [{uri: {prefix: /away}}], redirect: {authority: b, derivePort: FROM_REQUEST_PORT}}',
    '{name: there, match: [{uri: {prefix: /there}}], directResponse: {status: 204}}',
    '{name: last, route: [{destination: {host: a, port: {number: 9000}}}]}',
    '{name: never, directResponse: {status: 204}}',
  ];
  const compiled = good(
    serviceYaml('a', 9_000) + resourceYaml('VirtualService', 'a', `{hosts: [a], http: [${rules.join(', ')}]}`),
  );
  const hostAt = (port: number) => compiled.snapshot.hosts.get(`a.shop.svc.cluster.local:${port}`);
  const at = (port: number) => new Map(hostAt(port)?.routes.map((each) => [each.name, each]));
  const [own, beside] = [at(9_000), at(80)];
  t.same([...own.keys()], ['settled', 'open', 'away', 'there', 'last']);
  t.same([...beside.keys()], ['settled', 'open', 'one', 'away', 'there', 'last']);
  for (const name of ['settled', 'there', 'last']) t.equal(own.get(name), beside.get(name), `${name} is shared`);
  for (const [port, routes] of [
    [9_000, own],
    [80, beside],
  ] as const) {
    const cluster = `outbound|${port}||a.shop.svc.cluster.local`;
    t.match(routes.get('open'), { destinations: [{ cluster }], mirrors: [{ cluster }] });
    t.equal(routes.get('away')?.redirect?.port, port === 80 ? undefined : port);
    t.match(hostAt(port)?.skipped?.at(-1), { name: 'never', reason: 'last matches every request before it' });
  }
  t.equal(own.get('open')?.matches, beside.get('open')?.matches, 'what does not depend on the port is shared');
});

t.test('two ports of a host share the whole list where no rule is about a port', async (t) => {
  const spec = '{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 9000}}}]}]}';
  const { hosts } = good(serviceYaml('a', 9_000) + resourceYaml('VirtualService', 'a', spec)).snapshot;
  t.equal(hosts.get('a.shop.svc.cluster.local:80')?.routes, hosts.get('a.shop.svc.cluster.local:9000')?.routes);
});
