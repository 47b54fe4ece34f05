// go-control-plane, the control plane that others are made of: calls go where it says, both protocols.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { xdsSource } from '@inmesh/xds';
import { createMesh, type Mesh } from 'inmesh';
import t, { type Test } from 'tap';
import { type GoControlPlane, type GoSnapshot, startGoControlPlane, until } from './program.ts';

const google = 'type.googleapis.com/envoy.extensions.filters';

const listener = (name: string, routes: string): object => ({
  name,
  apiListener: {
    apiListener: {
      '@type': `${google}.network.http_connection_manager.v3.HttpConnectionManager`,
      statPrefix: name,
      rds: { configSource: { ads: {}, resourceApiVersion: 'V3' }, routeConfigName: routes },
      httpFilters: [{ name: 'router', typedConfig: { '@type': `${google}.http.router.v3.Router` } }],
    },
  },
});

const http2 = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

/** The endpoints of `two` speak HTTP/2, the others HTTP/1.1. */
const cluster = (name: string): object => ({
  name,
  ...(name === 'two'
    ? {
        typedExtensionProtocolOptions: {
          [http2]: { '@type': `type.googleapis.com/${http2}`, explicitHttpConfig: { http2ProtocolOptions: {} } },
        },
      }
    : {}),
  type: 'EDS',
  edsClusterConfig: { edsConfig: { ads: {}, resourceApiVersion: 'V3' } },
  connectTimeout: '2s',
});

const endpoints = (name: string, ports: readonly number[]): object => ({
  clusterName: name,
  endpoints: [
    {
      locality: { region: 'r', zone: 'z' },
      loadBalancingWeight: 1,
      lbEndpoints: ports.map((portValue) => ({
        endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } },
      })),
    },
  ],
});

const routes = (name: string, ...list: readonly object[]): object => ({
  name,
  virtualHosts: [{ name, domains: ['*'], routes: list }],
});

/** Answers to /slow that wait until a test wants them. */
const held = new Set<() => void>();

/** A server that says its name; on /slow when it is told to. */
async function serve(t: Test, name: string, http2: boolean): Promise<number> {
  const answer = ({ url }: { url?: string }, response: { end(text: string): void }): void => {
    if (url === '/slow') held.add(() => response.end(name));
    else response.end(name);
  };
  const server = (http2 ? createHttp2Server(answer as never) : createServer(answer as never)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

interface Running {
  readonly plane: GoControlPlane;
  readonly mesh: Mesh;
  readonly source: ReturnType<typeof xdsSource>;
  /** A snapshot with two versions behind one listener. */
  two(version: string, first: object): GoSnapshot;
  call(path?: string): Promise<string>;
}

for (const protocol of ['sotw', 'delta'] as const) {
  const withPlane = (name: string, run: (t: Test, running: Running) => Promise<void>): void => {
    t.test(`${protocol}: ${name}`, async (t) => {
      const plane = await startGoControlPlane(t);
      if ('why' in plane) {
        t.comment(`skipped, there is no peer here: ${plane.why}`);
        return;
      }
      const [v1, v2] = [await serve(t, 'v1', false), await serve(t, 'v2', true)];
      const source = xdsSource({
        profile: 'grpc',
        protocol,
        server: { address: plane.address, tls: false },
        node: { id: 'web-1' },
        services: ['reviews:9080'],
      });
      const mesh = createMesh({ config: source, identity: false, workload: { name: 'web' } });
      t.teardown(() => mesh.close());
      const two = (version: string, first: object): GoSnapshot => ({
        version,
        listeners: [listener('reviews:9080', 'reviews')],
        routes: [routes('reviews', first)],
        clusters: [cluster('one'), cluster('two')],
        endpoints: [endpoints('one', [v1]), endpoints('two', [v2])],
      });
      const call = async (path = '/'): Promise<string> => (await mesh.fetch(`http://reviews:9080${path}`)).text();
      await run(t, { plane, mesh, source, two, call });
    });
  };
  const to = (name: string): object => ({ match: { prefix: '/' }, route: { cluster: name } });

  withPlane(
    'calls follow the routes, and a change of them, without one that fails',
    async (t, { call, mesh, plane, two }) => {
      await plane.set(two('1', to('one')));
      await mesh.ready(20_000);
      t.equal(await call(), 'v1');
      const answers: string[] = [];
      await plane.set(two('2', to('two')));
      await until('the other version', async () => answers.push(await call()) > 1_000 || answers.at(-1) === 'v2');
      t.equal(answers.filter((answer) => answer !== 'v1' && answer !== 'v2').length, 0, 'no call fails');
      t.equal(answers.indexOf('v2'), answers.lastIndexOf('v1') + 1, 'one change, and not back');
      const seen = await plane.seen();
      t.equal(seen.node, 'web-1');
      t.same(seen.nacks, []);
      t.ok(seen.acks >= 4, `${seen.acks} responses are accepted`);
      t.ok(seen.features.includes('xds.config.resource-in-sotw'));
    },
  );

  withPlane(
    'what is refused is named over there, and the rest is used',
    async (t, { call, mesh, plane, source, two }) => {
      await plane.set(two('1', to('one')));
      await mesh.ready(20_000);
      const both = {
        match: { prefix: '/' },
        route: { weightedClusters: { clusters: ['one', 'two'].map((name) => ({ name, weight: 1 })) } },
      };
      const bad = two('2', both);
      const refused = { ...cluster('one'), type: 'EDS', edsClusterConfig: undefined };
      await plane.set({ ...bad, clusters: [refused, cluster('two')] });
      await until('the refusal', async () => (await plane.seen()).nacks.length > 0);
      t.match((await plane.seen()).nacks[0], /Cluster "one": .*eds/);
      const answers = new Set<string>();
      await until('what is good, and the last good one', async () => answers.add(await call()).size === 2);
      t.match(source.status().types.clusters.resources, [
        { name: 'one', state: 'NACKED' },
        { name: 'two', state: 'ACKED' },
      ]);
    },
  );

  withPlane('calls that it says are too many are answered, and headers are edited as it says', async (t, running) => {
    const { mesh, plane, two } = running;
    const add = (key: string, appendAction: string): object => ({ header: { key, value: 'route' }, appendAction });
    const edited = {
      ...to('one'),
      responseHeadersToAdd: [
        add('x-absent', 'ADD_IF_ABSENT'),
        add('date', 'ADD_IF_ABSENT'),
        add('x-none', 'OVERWRITE_IF_EXISTS'),
        { header: { key: 'x-empty', value: '' }, appendAction: 'APPEND_IF_EXISTS_OR_ADD', keepEmptyValue: true },
      ],
    };
    const few = two('1', edited);
    await plane.set(few);
    await mesh.ready(20_000);
    const passed = await mesh.fetch('http://reviews:9080/');
    t.match(Object.fromEntries(passed.headers), { 'x-absent': 'route', 'x-empty': '' });
    t.notMatch(passed.headers.get('date') ?? 'route', 'route', 'what the server says stays');
    t.equal(passed.headers.get('x-none'), null);
    t.equal(await passed.text(), 'v1');
    const [first, second] = few.endpoints ?? [];
    const dropOverloads = [{ category: 'lb', dropPercentage: { numerator: 100, denominator: 'HUNDRED' } }];
    await plane.set({ ...few, version: '2', endpoints: [{ ...first, policy: { dropOverloads } }, second as object] });
    await until('the drops', async () => (await mesh.fetch('http://reviews:9080/')).status === 503);
    const dropped = await mesh.fetch('http://reviews:9080/');
    t.equal(dropped.headers.get('x-envoy-drop-overload'), 'true');
    t.equal(await dropped.text(), 'unconditional drop overload');
    t.same((await plane.seen()).nacks, []);
  });

  withPlane('when it is away everything stays', async (t, { call, mesh, plane, source, two }) => {
    await plane.set(two('1', to('one')));
    await mesh.ready(20_000);
    plane.stop();
    await until('the loss', () => source.status().servers[0]?.problem !== undefined);
    t.equal(await call(), 'v1');
  });

  withPlane(
    'CP-08: a cluster that is deleted while calls are under way: they finish',
    async (t, { call, mesh, plane, two }) => {
      await plane.set(two('1', to('one')));
      await mesh.ready(20_000);
      const slow = call('/slow');
      await until('the slow call', () => held.size > 0);
      await plane.set({ ...two('2', to('two')), clusters: [cluster('two')] });
      await until('the other version', async () => (await call()) === 'v2');
      for (const answer of held) answer();
      held.clear();
      t.equal(await slow, 'v1');
      await plane.set({ version: '3' });
      await until('nothing', async () => (await mesh.fetch('http://reviews:9080/')).status === 503);
    },
  );
}

t.test('CP-05: a control plane that stops answering is noticed within half a minute', async (t) => {
  const plane = await startGoControlPlane(t);
  if ('why' in plane) {
    t.comment(`skipped, there is no peer here: ${plane.why}`);
    return;
  }
  const port = await serve(t, 'v1', false);
  const source = xdsSource({
    profile: 'grpc',
    server: { address: plane.address, tls: false },
    services: ['reviews:9080'],
  });
  const mesh = createMesh({ config: source, identity: false, workload: { name: 'web' } });
  t.teardown(() => mesh.close());
  await plane.set({
    version: '1',
    listeners: [listener('reviews:9080', 'reviews')],
    routes: [routes('reviews', { match: { prefix: '/' }, route: { cluster: 'one' } })],
    clusters: [cluster('one')],
    endpoints: [endpoints('one', [port])],
  });
  await mesh.ready(20_000);
  plane.freeze();
  // By timers of this process, one after the other as in a keepalive: what makes it late makes them late.
  let over = false;
  void wait(20_000, undefined, { ref: false })
    .then(() => wait(10_000, undefined, { ref: false }))
    .then(() => {
      over = true;
    });
  await until('the loss', () => over || source.status().servers[0]?.problem !== undefined);
  t.notOk(over, 'before half a minute is over');
  t.equal(await (await mesh.fetch('http://reviews:9080/')).text(), 'v1', 'what is in force stays');
});
