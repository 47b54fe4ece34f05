import { createServer, type Socket } from 'node:net';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import t from 'tap';
import { compileResources, readers } from '../src/compile/compile.ts';
import { type Any, pack } from '../src/proto/any.ts';
import { clusterSchema } from '../src/proto/envoy/cluster.ts';
import { deltaDiscoveryResponse } from '../src/proto/envoy/discovery.ts';
import { routeConfigurationSchema } from '../src/proto/envoy/route-config.ts';
import { uriTemplateMatchConfigSchema } from '../src/proto/envoy/route-match.ts';
import { encode } from '../src/proto/schema.ts';
import { chains, http, rbac, router, tcp, unknown, virtualInbound } from './compile/inbound-listeners.ts';
import { type FakeStream, fakeControlPlane } from './support/fake-control-plane.ts';
import { resource, runSource, workload } from './support/running-source.ts';

const to = (address: string) => ({ server: { address, tls: false as const } });

t.test('CP-02: a peer that takes connections and says nothing is given up after 20 s, and told of', async (t) => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket.on('error', () => {})));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as { readonly port: number };
  const { clock, lost, source, until } = runSource(t, to(`127.0.0.1:${port}`));
  await until('a connection', () => sockets.length === 1);
  await clock.advanceAsync(19_999);
  t.same(lost, []);
  await clock.advanceAsync(1);
  await until('the word', () => lost.length === 1);
  t.match(lost[0]?.message, /is out of reach: no connection within 20000 ms/);
  t.match(source.status().servers, [{ problem: /no connection/ }]);
  await until('the next', () => {
    clock.advance(1_000);
    return sockets.length === 2;
  });
});

t.test('a control plane that takes requests and never answers is told of; a late answer counts', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, lost, source, until, updates } = runSource(t, to(plane.address));
  const stream = await plane.accept();
  await stream.next('listeners');
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  await until('the word', () => {
    clock.advance(1_000);
    return lost.length === 1;
  });
  t.match(lost[0]?.message, /takes requests, and has not answered/);
  t.match(source.status().servers, [{ streams: 1, state: 'waiting' }]);
  stream.send('clusters', {});
  stream.send('listeners', {});
  await until('a snapshot', () => updates.length === 1);
  t.match(source.status().servers, [{ streams: 1, state: 'connected' }]);
});

t.test('refusals that are said later: each type has its own, and none is said of what came after it', async (t) => {
  for (const protocol of ['sotw', 'delta'] as const) {
    const plane = await fakeControlPlane(t);
    const { clock, until } = runSource(t, { ...to(plane.address), protocol });
    const stream: FakeStream = await plane.accept();
    const answers = (type: 'clusters' | 'listeners') =>
      stream.said
        .filter((one) => one.type === type)
        .map((one) => one.sotw.response_nonce || one.delta.response_nonce)
        .filter(Boolean);
    const bad = (type: 'clusters' | 'listeners'): string =>
      stream.send(type, { resources: [resource(type, 'x', { bad: 'y' })] });
    const first = bad('listeners');
    await until('an answer', () => answers('listeners').includes(first));
    const second = bad('listeners');
    const third = bad('clusters');
    await until('an answer', () => answers('clusters').includes(third));
    const fourth = bad('clusters');
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    t.notOk(answers('listeners').includes(second));
    await until('both', () => {
      clock.advance(500);
      return answers('listeners').includes(second) && answers('clusters').includes(fourth);
    });
    bad('clusters');
    const good = stream.send('clusters', { resources: [resource('clusters', 'x')] });
    await until('an answer', () => answers('clusters').includes(good));
    const count = stream.said.length;
    await clock.advanceAsync(60_000);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    t.equal(stream.said.length, count, `${protocol}: nothing more is said`);
    const last = stream.said.at(-1);
    t.equal(last?.sotw.error_detail ?? last?.delta.error_detail, undefined);
  }
});

const deny = rbac({
  action: 'DENY',
  policies: new Map([['p', { permissions: [{ any: true }], principals: [{ any: true }] }]]),
} as never);
const open = virtualInbound([...chains(8_080, 'STRICT', http([router])), ...chains(undefined, 'PERMISSIVE', tcp)]);
const named = (name: string, filter: typeof router): Any =>
  virtualInbound(chains(8_080, 'STRICT', http([filter, router])), { name });
const cluster = (name: string): Any => pack(clusterSchema, { name, type: 'STATIC' } as never);

t.test('listeners for callers that contradict each other: what was in force stays, and the rest goes on', async (t) => {
  const plane = await fakeControlPlane(t);
  const { rejected, until, updates } = runSource(t, to(plane.address), { readers, compile: compileResources });
  const stream = await plane.accept();
  stream.send('clusters', {});
  stream.send('listeners', { resources: [open] });
  await until('a snapshot', () => updates.length === 1);
  const before = updates[0]?.inbound;
  stream.send('listeners', { resources: [named('another', deny)] });
  await until('the word', () => rejected.length === 1);
  t.match(rejected[0]?.[0]?.message, /is that of another listener, too/);
  t.same(updates.at(-1)?.inbound, before, 'two listeners for one port');
  stream.send('clusters', { resources: [cluster('a')] });
  await until('the cluster', () => updates.at(-1)?.clusters.has('a') === true);
  t.same(updates.at(-1)?.inbound, before);
  stream.send('listeners', { removed: ['another'], resources: [named('third', unknown('strange'))] });
  stream.send('clusters', { resources: [cluster('b')] });
  await until('the cluster', () => updates.at(-1)?.clusters.has('b') === true);
  t.same(updates.at(-1)?.inbound, before, 'a new one that is refused');
  stream.send('listeners', { removed: ['third', 'virtualInbound'] });
  await until('nobody', () => updates.at(-1)?.inbound !== before && updates.at(-1)?.inbound.rbac !== undefined);
});

t.test('routes of a listener for callers that are refused let nobody in: they may say who may call', async (t) => {
  const plane = await fakeControlPlane(t);
  const { until, updates } = runSource(t, to(plane.address), { readers, compile: compileResources });
  const stream = await plane.accept();
  const listener = (name: string): Any => {
    const rds = { route_config_name: name, config_source: { ads: {} } };
    return virtualInbound(chains(8_080, 'STRICT', http([router], { route_config: undefined, rds } as never)));
  };
  const routes = (name: string, domain: string): Any =>
    pack(routeConfigurationSchema, { name, virtual_hosts: [{ name: 'v', domains: [domain] }] } as never);
  const nobody = [{ rules: { action: 'ALLOW', policies: [] } }];
  const inbound = () => updates.at(-1)?.inbound;
  stream.send('clusters', {});
  stream.send('listeners', { resources: [listener('r')] });
  await stream.next('routes');
  stream.send('routes', { resources: [routes('r', 'a*b')] });
  await until('a snapshot', () => updates.length === 1);
  t.match(inbound()?.rbac, nobody);
  t.equal(inbound()?.rbac?.[0]?.scope, undefined, 'on all ports');
  stream.send('routes', { resources: [routes('r', '*')] });
  await until('good ones', () => inbound()?.mtls?.ports.get(8_080) === 'STRICT');
  const good = inbound();
  t.match(good?.rbac, [{ scope: { ports: [8_080], except: true } }]);
  stream.send('listeners', { resources: [listener('other')] });
  while ((await stream.next('routes')).delta.resource_names_subscribe?.[0] !== 'other');
  stream.send('routes', { resources: [routes('other', 'a*b')] });
  stream.send('clusters', { resources: [cluster('a')] });
  await until('the cluster', () => updates.at(-1)?.clusters.has('a') === true);
  t.same(inbound(), good, 'what was in force stays');
});

t.test('no snapshot before every listener for callers was good once: another would speak for its port', async (t) => {
  for (const bad of [
    named('0.0.0.0_8080', unknown('strange')),
    {
      ...named('0.0.0.0_8080', deny),
      value: Buffer.concat([named('0.0.0.0_8080', deny).value ?? Buffer.alloc(0), Buffer.from([0x0a, 0x7f])]),
    },
  ]) {
    const plane = await fakeControlPlane(t);
    const running = runSource(t, to(plane.address), { readers, compile: compileResources });
    const stream = await plane.accept();
    stream.send('clusters', {});
    stream.send('listeners', {
      wrapped: [{ name: '0.0.0.0_8080', version: '1', resource: bad }],
      resources: [virtualInbound(chains(undefined, 'PERMISSIVE', tcp))],
    });
    await running.until('the word', () => running.rejected.length === 1);
    t.equal(running.updates.length, 0);
    stream.send('listeners', { resources: [named('0.0.0.0_8080', deny)] });
    await running.until('a snapshot', () => running.updates.length === 1);
    t.equal(running.updates[0]?.inbound.mtls?.ports.get(8_080), 'STRICT');
  }
});

t.test('a cluster that is missing is waited for each time that routes begin to name it', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, told, until, updates } = runSource(t, to(plane.address));
  const stream = await plane.accept();
  const route = (...refs: readonly string[]): void =>
    void stream.send('routes', { resources: [resource('routes', 'r', { refs, text: refs.join() })] });
  stream.send('clusters', { resources: [resource('clusters', 'a')] });
  stream.send('listeners', { resources: [resource('listeners', 'l', { refs: ['r'] })] });
  await stream.next('routes');
  route('a');
  await until('a snapshot', () => updates.length === 1);
  for (let i = 0; i < 2; i++) {
    const answered = stream.said.length;
    route('a', 'gone');
    await until('the answer', () => stream.said.length > answered);
    for (let j = 0; j < 20; j++) await new Promise((resolve) => setImmediate(resolve));
    t.ok(told().includes('routes r: a'), `time ${i + 1}: not yet`);
    await clock.advanceAsync(5_000);
    await until('the route', () => told().includes('routes r: a,gone'));
    route('a');
    await until('the route', () => told().includes('routes r: a'));
  }
});

t.test('a port whose chains hand on or close: the chains for all other ports do not speak for it', async (t) => {
  const closing = { filter_chain_match: { destination_port: 9_443, transport_protocol: 'tls' }, filters: [tcp] };
  const { snapshot } = compileResources(
    {
      listeners: new Map([
        ['virtualInbound', virtualInbound([closing, ...chains(undefined, 'PERMISSIVE', http([router]))])],
      ]),
      routes: new Map(),
      clusters: new Map(),
      endpoints: new Map(),
    },
    { workload, profile: 'istio', services: [], serverListeners: [], addresses: [] },
    '1',
  );
  t.match(snapshot.inbound.rbac, [{ scope: { ports: [9_443] }, rules: { action: 'ALLOW', policies: [] } }]);
});

t.test('a control plane that sends and does not read is left, with what was not read', async (t) => {
  const flood = 100_000;
  const server = new Server();
  let written = 0;
  const serve = (call: ServerDuplexStream<Buffer, Buffer>): void => {
    call.on('error', () => {});
    // The first request is read, and none of the answers.
    call.once('data', () => {
      call.pause();
      const send = (): void => {
        while (written < flood) {
          const name = `${written++}-${'x'.repeat(4_000)}`;
          const bad = { name, version: '1', resource: resource('clusters', name, { bad: 'y' }) };
          const type_url = bad.resource.type_url;
          const bytes = encode(deltaDiscoveryResponse, { type_url, nonce: `${written}`, resources: [bad] });
          if (!call.write(Buffer.from(bytes))) return void call.once('drain', send);
        }
      };
      send();
    });
  };
  const raw = (bytes: Buffer): Buffer => bytes;
  server.addService(
    {
      delta: {
        path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
        requestStream: true,
        responseStream: true,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    { delta: serve },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.teardown(() => server.forceShutdown());
  const { source, until } = runSource(t, { ...to(`127.0.0.1:${port}`), maxMessageBytes: 200_000 });
  await until('the end of it', () => source.status().servers[0]?.problem !== undefined);
  t.match(source.status().servers[0]?.problem, /does not read what it is told: 20\d{4} bytes wait for it/);
});

t.test('a share that is not a number is refused: no comparison with it would ever hold', async (t) => {
  const limits = { thresholds: [{ retry_budget: { budget_percent: { value: Number.NaN } } }] };
  const bad = pack(clusterSchema, { name: 'a', type: 'STATIC', circuit_breakers: limits } as never);
  t.throws(() => readers.clusters(bad), { message: /expected a number, got NaN/ });
});

t.test(
  'what no pattern could be made of is refused with its resource: later it would stop all of a host',
  async (t) => {
    const long = 'a'.repeat(2_000);
    const match = (more: object): object => ({ match: { prefix: '/', ...more }, route: { cluster: 'c' } });
    const header = (more: object): object => match({ headers: [{ name: 'x', ...more }] });
    const rewrite = (route: object): object => ({ match: { prefix: '/' }, route: { cluster: 'c', ...route } });
    const template = {
      name: 't',
      typed_config: pack(uriTemplateMatchConfigSchema, { path_template: '/*'.repeat(40) }),
    };
    for (const [field, route, why] of [
      ['string_match.exact', header({ string_match: { exact: long, ignore_case: true } }), /longer than 1024/],
      ['string_match.prefix', header({ string_match: { prefix: long, ignore_case: true } }), /longer than 1024/],
      ['string_match.suffix', header({ string_match: { suffix: long, ignore_case: true } }), /longer than 1024/],
      ['contains_match', header({ contains_match: long }), /longer than 1024/],
      [
        'range_match',
        header({ range_match: { start: 123_456_789_012, end: 987_654_321_098_765 } }),
        /longer than 1024/,
      ],
      ['path_match_policy', match({ prefix: undefined, path_match_policy: template }), /longer than 1024/],
      [
        'regex_rewrite.substitution',
        rewrite({ regex_rewrite: { pattern: { regex: '(a)' }, substitution: '/\\2' } }),
        /the pattern has 1/,
      ],
      [
        'regex_rewrite.substitution',
        { match: { prefix: '/' }, redirect: { regex_rewrite: { pattern: { regex: 'a' }, substitution: '/\\d' } } },
        /a backslash in a substitution needs/,
      ],
    ] as const) {
      const virtual_hosts = [{ name: 'v', domains: ['*'], routes: [route] }];
      const config = pack(routeConfigurationSchema, { name: 'r', virtual_hosts } as never);
      t.throws(() => readers.routes(config), { message: new RegExp(`${field}.*${why.source}`) }, field);
    }
    const permission = { header: { name: 'x', string_match: { contains: long } } };
    const policies = new Map([['p', { permissions: [permission], principals: [{ any: true }] }]]);
    const listener = named('l', rbac({ action: 'DENY', policies } as never));
    t.throws(() => readers.listeners(listener), { message: /contains: expected a text that can be matched so/ });
    const short = header({ string_match: { exact: 'A.b'.repeat(60), ignore_case: true } });
    const virtual_hosts = [{ name: 'v', domains: ['*'], routes: [short] }];
    t.doesNotThrow(() => readers.routes(pack(routeConfigurationSchema, { name: 'r', virtual_hosts } as never)));
  },
);

t.test('texts that would end a line of a request or an answer are refused by field', async (t) => {
  const line = 'a\r\nx: y';
  const to = (route: object): object => ({ route: { cluster: 'c', ...route } });
  for (const [field, action] of [
    ['route.prefix_rewrite', to({ prefix_rewrite: line })],
    ['route.host_rewrite_literal', to({ host_rewrite_literal: line })],
    ['route.regex_rewrite.substitution', to({ regex_rewrite: { pattern: { regex: 'a' }, substitution: line } })],
    ['route.hash_policy[0].cookie', to({ hash_policy: [{ cookie: { name: 'a', path: line } }] })],
    [
      'route.weighted_clusters.clusters[0].host_rewrite_literal',
      { route: { weighted_clusters: { clusters: [{ name: 'c', weight: 1, host_rewrite_literal: '\0' }] } } },
    ],
    ['redirect.host_redirect', { redirect: { host_redirect: line } }],
    ['redirect.scheme_redirect', { redirect: { scheme_redirect: line } }],
    ['redirect.path_redirect', { redirect: { path_redirect: line } }],
    ['redirect.prefix_rewrite', { redirect: { prefix_rewrite: line } }],
  ] as const) {
    const routes = [{ match: { prefix: '/' }, ...action }];
    const virtual_hosts = [{ name: 'v', domains: ['*'], routes }];
    const config = pack(routeConfigurationSchema, { name: 'r', virtual_hosts } as never);
    let message = '';
    try {
      readers.routes(config);
    } catch (error) {
      message = String(error);
    }
    t.ok(message.includes(`routes[0].${field}: must not have line breaks`), message || field);
  }
});
