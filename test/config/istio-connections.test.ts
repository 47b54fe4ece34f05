import t from 'tap';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

const tcpService = serviceYaml('db', 5_432).replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP');
const tlsService = serviceYaml('api', 443).replace('name: http, protocol: HTTP', 'name: tls, protocol: TLS');
const to = (subset: string, host = 'db'): string => `route: [{destination: {host: ${host}, subset: ${subset}}}]`;
const rules = (host: string): string =>
  resourceYaml(
    'DestinationRule',
    host,
    `{host: ${host}, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}`,
  );
const tcp = (spec: string, more = '', name = 'db'): string =>
  resourceYaml('VirtualService', name, `{hosts: [db], tcp: [${spec}]${more}}`);
const tls = (spec: string, hosts = 'api'): string =>
  resourceYaml('VirtualService', 'api', `{hosts: [${hosts}], tls: [${spec}]}`);
const host = (yaml: string, name: string, options?: TestCompileOptions) => good(yaml, options).snapshot.hosts.get(name);
const db = (yaml: string) => host(tcpService + rules('db') + yaml, 'db:5432');
const api = (yaml: string) => host(tlsService + rules('api') + yaml, 'api:443');
const dbCluster = (subset: string, port = 5_432): string => `outbound|${port}|${subset}|db.shop.svc.cluster.local`;
const apiCluster = (subset: string): string => `outbound|443|${subset}|api.shop.svc.cluster.local`;

t.test('a tcp rule without a match takes every connection, and every call', async (t) => {
  t.match(db(tcp(`{${to('v1')}}`)), {
    connections: [{ name: 'db tcp[0]', destinations: [{ cluster: dbCluster('v1'), weight: 1 }] }],
    routes: [{ name: 'db tcp[0]', matches: [], destinations: [{ cluster: dbCluster('v1') }] }],
  });
  t.notOk('connections' in (db('') ?? {}), 'without rules there are none');
  t.equal(db(tcp(`{${to('v1')}}`))?.connections?.length, 1, 'nothing is left for the service itself');
});

t.test('weights of connections', async (t) => {
  const split = `{route: [{destination: {host: db, subset: v1}, weight: 1}, {destination: {host: db, subset: v2}, weight: 3}, {destination: {host: db}, weight: 0}]}`;
  t.same(db(tcp(split))?.connections?.[0]?.destinations, [
    { cluster: dbCluster('v1'), weight: 1 },
    { cluster: dbCluster('v2'), weight: 3 },
  ]);
});

t.test('subnets are decided by each connection; the rest goes to the service', async (t) => {
  const found = db(
    tcp(
      `{match: [{destinationSubnets: [10.0.0.0/8]}, {destinationSubnets: [192.168.1.1, "fd00::/8", "fe80::1%eth0"]}], ${to('v1')}}, {match: [{port: 1}], ${to('v2')}}`,
    ),
  );
  t.match(found, {
    connections: [
      {
        destinationSubnets: ['10.0.0.0/8', '192.168.1.1', 'fd00::/8', 'fe80::1'],
        destinations: [{ cluster: dbCluster('v1') }],
      },
      { name: 'default', destinations: [{ cluster: dbCluster('') }] },
    ],
    skipped: [{ name: 'db tcp[1]', reason: 'match[0]: port is 1, and this is port 5432' }],
    routes: [{ name: 'default' }],
  });
});

t.test('one entry without subnets makes the rule take everything', async (t) => {
  const found = db(tcp(`{match: [{destinationSubnets: [10.0.0.0/8]}, {port: 5432}], ${to('v1')}}, {${to('v2')}}`));
  t.match(found?.connections, [{ destinations: [{ cluster: dbCluster('v1') }] }]);
  t.notOk('destinationSubnets' in (found?.connections?.[0] ?? {}));
  t.match(found?.skipped, [{ name: 'db tcp[1]', reason: 'db tcp[0] takes every connection before it' }]);
});

t.test('conditions on the caller are all needed, other than for http', async (t) => {
  const cases: readonly (readonly [match: string, applies: boolean])[] = [
    ['{port: 5432}', true],
    ['{sourceLabels: {app: web}}', true],
    ['{sourceLabels: {app: x}}', false],
    ['{sourceNamespace: shop}', true],
    ['{sourceNamespace: x}', false],
    ['{gateways: [mesh]}', true],
    ['{gateways: [edge]}', false],
    ['{gateways: [mesh], sourceNamespace: x}', false],
  ];
  for (const [match, applies] of cases) {
    t.equal(db(tcp(`{match: [${match}], ${to('v1')}}`))?.connections?.length, applies ? 1 : undefined, match);
  }
});

t.test('rules of several VirtualServices add up, in order', async (t) => {
  const found = db(
    tcp(`{match: [{destinationSubnets: [10.0.0.0/8]}], ${to('v1')}}`) + tcp(`{${to('v2')}}`, '', 'second'),
  );
  t.match(
    found?.connections?.map(({ name }) => name),
    ['db tcp[0]', 'second tcp[0]'],
  );
});

t.test(
  'the port of a destination: as said, else the only one of the service, else that of the connection',
  async (t) => {
    const other = serviceYaml('other', 9_000);
    t.equal(
      host(tcpService + other + tcp('{route: [{destination: {host: other}}]}'), 'db:5432')?.connections?.[0]
        ?.destinations[0]?.cluster,
      'outbound|9000||other.shop.svc.cluster.local',
    );
    t.equal(
      db(tcp('{route: [{destination: {host: db, port: {number: 1}}}]}'))?.connections?.[0]?.destinations[0]?.cluster,
      dbCluster('', 1),
    );
  },
);

t.test('a port that speaks HTTP keeps its routes beside its connections', async (t) => {
  const yaml = serviceYaml('db', 80) + rules('db') + tcp(`{${to('v1')}}`, `, http: [{name: h, ${to('v2')}}]`);
  t.match(host(yaml, 'db:80'), {
    routes: [{ name: 'h' }],
    connections: [{ destinations: [{ cluster: dbCluster('v1', 80) }] }],
  });
});

t.test('tls rules choose by name', async (t) => {
  const found = api(
    tls(
      `{match: [{sniHosts: [a.example]}], ${to('v1', 'api')}}, {match: [{sniHosts: [api.shop.svc.cluster.local]}], ${to('v2', 'api')}}`,
      'api.shop.svc.cluster.local, a.example',
    ),
  );
  t.match(found, {
    connections: [
      { name: 'api tls[0]', sniHosts: ['a.example'], destinations: [{ cluster: apiCluster('v1') }] },
      { name: 'api tls[1]', sniHosts: ['api.shop.svc.cluster.local'], destinations: [{ cluster: apiCluster('v2') }] },
    ],
    // What calls to the service would say is its own name.
    routes: [{ name: 'api tls[1]', destinations: [{ cluster: apiCluster('v2') }] }],
  });
  t.notOk(
    found?.connections?.some(({ name }) => name === 'default'),
    'other names go nowhere',
  );
});

t.test('tls entries with the same names: the first counts; wildcards cover', async (t) => {
  const wide = tls(
    `{match: [{port: 1, sniHosts: ["*.example"]}, {sniHosts: ["*.example"]}], ${to('v1', 'api')}}, {match: [{sniHosts: ["*.example"]}], ${to('v2', 'api')}}, {match: [{sniHosts: ["*.example"], destinationSubnets: [10.0.0.0/8]}], ${to('v2', 'api')}}`,
    'api.shop.svc.cluster.local, "*.example"',
  );
  const found = api(wide);
  t.match(found?.connections, [{ name: 'api tls[0]' }, { name: 'api tls[2]', destinationSubnets: ['10.0.0.0/8'] }]);
  t.match(found?.skipped, [{ name: 'api tls[1]', reason: 'match[0]: an earlier rule has the same names' }]);
  t.match(found?.routes, [{ name: 'default' }], 'none of them is for the service');
});

t.test('tls rules are for ports of TLS, tcp rules for others', async (t) => {
  t.notOk(
    'connections' in
      (db(
        resourceYaml(
          'VirtualService',
          'v',
          `{hosts: [db.shop.svc.cluster.local], tls: [{match: [{sniHosts: [db.shop.svc.cluster.local]}], ${to('v1')}}]}`,
        ),
      ) ?? {}),
  );
  t.notOk(
    'connections' in (api(resourceYaml('VirtualService', 'v', `{hosts: [api], tcp: [{${to('v1', 'api')}}]}`)) ?? {}),
  );
});

const refusals: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  ['no rules', resourceYaml('VirtualService', 'v', '{hosts: [db]}'), /spec: needs rules: http, tcp or tls/],
  ['tcp without a route', tcp('{match: [{port: 1}]}'), /tcp\[0\]: needs a route with a destination/],
  ['tls without a route', tls('{match: [{sniHosts: [api]}]}'), /tls\[0\]: needs a route with a destination/],
  ['tls without a match', tls(`{${to('v1', 'api')}}`), /tls\[0\]: needs the field match/],
  [
    'tls without names',
    tls(`{match: [{sniHosts: []}], ${to('v1', 'api')}}`),
    /sniHosts: must be a list with at least one/,
  ],
  [
    'a name that the hosts do not cover',
    tls(`{match: [{sniHosts: [a.b]}], ${to('v1')}}`),
    /sniHosts\[0\]: must be covered by the hosts \(api\), got "a.b"/,
  ],
  ['a name wider than the hosts', tls(`{match: [{sniHosts: ["*.b"]}], ${to('v1')}}`, 'a.b'), /must be covered/],
  ['a name that is none', tls(`{match: [{sniHosts: ["a b"]}], ${to('v1')}}`), /sniHosts\[0\]: must be a host name/],
  [
    'a subnet that is none',
    tcp(`{match: [{destinationSubnets: [10.0.0.0/33]}], ${to('v1')}}`),
    /destinationSubnets\[0\]: must be an address/,
  ],
  ['a label that is none', tcp(`{match: [{sourceLabels: {"a b": c}}], ${to('v1')}}`), /must be the key of a label/],
  [
    'weights of nothing',
    tcp('{route: [{destination: {host: a}}, {destination: {host: b}}]}'),
    /needs weights whose sum/,
  ],
  ['a destination that is none', tcp('{route: [{destination: {host: 10.0.0.1}}]}'), /host: must be a host name/],
];
for (const [what, yaml, message] of refusals) {
  t.test(`refused: ${what}`, async (t) => t.match(problems(yaml).join('\n'), message));
}

t.test('an address as SNI is warned of', async (t) => {
  const { remarks } = good(tlsService + tls(`{match: [{sniHosts: ["10.0.0.1"]}], ${to('v1', 'api')}}`, '"10.0.0.1"'));
  t.match(remarks().join('\n'), /sniHosts\[0\] enforced \(warning\): is an IP address/);
});
