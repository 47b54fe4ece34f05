import type { IncomingHttpHeaders } from 'node:http';
import t, { type Test } from 'tap';
import { upgrade } from 'undici';
import type { HeaderEdit, HeaderEdits, Route } from '../src/model/route.ts';
import { runInScope } from '../src/pipeline/scope.ts';
import { testClient } from './support/client.ts';
import { type Answer, modelMesh, ways } from './support/model-mesh.ts';
import { record } from './support/recorder.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { upstream } from './support/upstream.ts';

interface Echo {
  readonly url: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A server that answers with what it got, and with a few headers of its own. */
async function echoing(t: Test) {
  const server = await upstream(t, async (incoming, outgoing) => {
    const body = (await incoming.toArray()).join('');
    const { headers, method, url } = incoming;
    outgoing.setHeader('x-server', 'yes').setHeader('x-many', ['1', '2']).setHeader('server', 'node');
    outgoing.end(JSON.stringify({ url, method, headers, body }));
  });
  return { server, clusters: [cluster('a', [endpoint(server.port)])] };
}
const to = 'outbound|80||a';
const seen = ({ text }: Answer): Echo => JSON.parse(text) as Echo;
const values = (pairs: Readonly<Record<string, string>>) =>
  Object.entries(pairs).map(([name, value]) => ({ name, value }));
const edit = (changes: {
  readonly set?: Readonly<Record<string, string>>;
  readonly add?: Readonly<Record<string, string>>;
  readonly remove?: readonly string[];
}): HeaderEdit => ({ set: values(changes.set ?? {}), add: values(changes.add ?? {}), remove: changes.remove ?? [] });
const onRequest = (changes: Parameters<typeof edit>[0]): HeaderEdits => ({ request: edit(changes) });
const onResponse = (changes: Parameters<typeof edit>[0]): HeaderEdits => ({ response: edit(changes) });
const noDestination: Partial<Route> = { destinations: [] };

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('a redirect is answered without a server', async (t) => {
      const { server, clusters } = await echoing(t);
      const routes = [
        route('', {
          ...noDestination,
          name: 'moved',
          matches: [{ path: { kind: 'prefix', value: '/old' } }],
          redirect: { status: 308, scheme: 'https', authority: 'new.example', path: { value: '/new', prefix: true } },
          headers: onResponse({ set: { 'x-route': '%ROUTE_NAME%', 'x-asked': '%REQ(:path)%' } }),
        }),
        route(to),
      ];
      const mesh = await modelMesh(t, snapshot({ a: routes }, clusters));
      const moved = await call(mesh, 'http://a/old/1?x=1');
      t.equal(moved.status, 308);
      t.match(moved.headers, {
        location: 'https://new.example/new/1?x=1',
        'content-length': '0',
        'x-route': 'moved',
        'x-asked': '/old/1?x=1',
      });
      t.equal(moved.text, '');
      t.equal(server.seen.length, 0);
      t.equal((await call(mesh, 'http://a/other')).status, 200, 'other requests go their way');
      const posted = await call(mesh, 'http://a/old', { method: 'POST', body: 'some body' });
      t.equal(posted.status, 308, 'also with a body that nobody reads');
      const statuses = mesh.stats().requests.map(({ statuses }) => statuses);
      t.match(statuses, [{ 308: 2 }, { 200: 1 }], 'answers are counted');
    });

    t.test('a direct response is given as it is configured', async (t) => {
      const routes = [
        route('', {
          ...noDestination,
          matches: [{ method: { kind: 'exact', value: 'GET' } }, { method: { kind: 'exact', value: 'HEAD' } }],
          direct: { status: 503, body: 'closed for today' },
        }),
        route('', { ...noDestination, direct: { status: 204, body: 'never seen' } }),
      ];
      const mesh = await modelMesh(t, snapshot({ a: routes }, []));
      const answer = await call(mesh, 'http://a/');
      t.equal(answer.status, 503);
      t.match(answer.headers, { 'content-type': 'text/plain', 'content-length': '16' });
      t.equal(answer.headers['x-inmesh-error'], undefined, 'it is no failure');
      t.equal(answer.text, 'closed for today');
      const head = await call(mesh, 'http://a/', { method: 'HEAD' });
      t.match(head, { status: 503, headers: { 'content-length': '16' }, text: '' });
      t.match(await call(mesh, 'http://a/', { method: 'POST', body: 'x' }), { status: 204, text: '' });
    });

    t.test('header edits of requests and responses', async (t) => {
      const { clusters } = await echoing(t);
      const mesh = await modelMesh(
        t,
        snapshot(
          {
            a: [
              route(to, {
                headers: {
                  request: edit({
                    set: { 'x-set': 'new', 'x-from': '%REQ(x-own)%', host: 'ignored.example' },
                    add: { 'x-add': 'more' },
                    remove: ['x-gone'],
                  }),
                  response: edit({
                    set: { 'x-server': 'mesh', 'x-status': '%RESPONSE_CODE% %RESP(x-server)%' },
                    add: { 'x-many': '3' },
                    remove: ['server'],
                  }),
                },
              }),
            ],
          },
          clusters,
        ),
      );
      const headers = { 'X-Set': 'old', 'X-Add': 'one', 'X-Gone': '1', 'X-Own': 'mine', 'X-Kept': 'k' };
      const answer = await call(mesh, 'http://a/p?q', { method: 'POST', body: 'body', headers });
      const echo = seen(answer);
      t.match(echo.headers, { 'x-set': 'new', 'x-from': 'mine', 'x-add': 'one, more', 'x-own': 'mine', 'x-kept': 'k' });
      t.equal(echo.headers['x-gone'], undefined);
      t.equal(echo.body, 'body');
      t.match(echo.headers, { host: 'ignored.example', 'x-envoy-original-host': 'a' }, 'Host is the authority');
      t.equal(answer.headers['server'], undefined);
      t.match(answer.headers, { 'x-server': 'mesh', 'x-status': '200 yes', 'x-many': /^1, ?2, ?3$/ });
    });

    t.test('edits of a destination come before those of its route', async (t) => {
      const { clusters } = await echoing(t);
      const destination = {
        cluster: to,
        headers: { ...onRequest({ set: { x: 'destination', d: '1' } }), ...onResponse({ set: { y: 'd', e: '1' } }) },
      };
      const mesh = await modelMesh(
        t,
        snapshot(
          {
            a: [
              route('', {
                destinations: [
                  { ...destination, weight: 1 },
                  { cluster: to, weight: 0 },
                ],
                headers: { ...onRequest({ set: { x: 'route' } }), ...onResponse({ set: { y: 'route' } }) },
              }),
            ],
          },
          clusters,
        ),
      );
      const answer = await call(mesh, 'http://a/');
      t.match(seen(answer).headers, { x: 'route', d: '1' });
      t.match(answer.headers, { y: 'route', e: '1' });
    });

    t.test('rewrites of path and authority, by prefix and by regex', async (t) => {
      const { clusters } = await echoing(t);
      const routes = [
        route(to, {
          matches: [{ path: { kind: 'prefix', value: '/v1' } }],
          rewrite: {
            pathRegex: { pattern: '^/v1/users/([0-9]+)', substitution: '/people/\\1' },
            authority: 'people.example',
          },
          headers: onRequest({ set: { 'x-asked': '%REQ(:authority)%%REQ(:path)%' } }),
        }),
        route(to, { matches: [{ path: { kind: 'prefix', value: '/old' } }], rewrite: { pathPrefix: '/new' } }),
        route(to),
      ];
      const mesh = await modelMesh(t, snapshot({ a: routes }, clusters));
      const rewritten = seen(await call(mesh, 'http://a/v1/users/7/x?y=/v1/users/7'));
      t.equal(rewritten.url, '/people/7/x?y=/v1/users/7');
      t.match(rewritten.headers, {
        host: 'people.example',
        'x-envoy-original-host': 'a',
        'x-envoy-original-path': '/v1/users/7/x?y=/v1/users/7',
        'x-asked': 'a/v1/users/7/x?y=/v1/users/7',
      });
      const prefix = seen(await call(mesh, 'http://a/old/x', { headers: { 'x-envoy-original-path': '/forged' } }));
      t.match(prefix, { url: '/new/x', headers: { host: 'a', 'x-envoy-original-path': '/old/x' } });
      const plain = seen(await call(mesh, 'http://a/plain'));
      t.equal(plain.headers['x-envoy-original-path'], undefined);
      t.equal(plain.headers['x-envoy-original-host'], undefined);
    });

    t.test('conditions on method, authority, query, scheme and absent headers', async (t) => {
      const { clusters } = await echoing(t);
      const named = (name: string, match: Route['matches'][number]): Route =>
        route(to, { name, matches: [match], headers: onResponse({ set: { 'x-route': name } }) });
      const exact = (value: string) => ({ kind: 'exact', value }) as const;
      const routes = [
        named('method', { method: exact('DELETE') }),
        named('authority', { authority: exact('other:81') }),
        named('query', { queryParams: [{ name: 'debug', match: { kind: 'present' } }] }),
        named('header', { headers: [{ name: 'end-user', match: { kind: 'regex', value: 'j.*' } }] }),
        named('without', { scheme: exact('http'), withoutHeaders: [{ name: 'x-a', match: { kind: 'present' } }] }),
        named('rest', {}),
      ];
      const mesh = await modelMesh(t, snapshot({ a: routes }, clusters));
      const taken = async (...asking: Parameters<typeof call> extends [unknown, ...infer Rest] ? Rest : never) =>
        (await call(mesh, ...asking)).headers['x-route'];
      t.equal(await taken('http://a/', { method: 'DELETE' }), 'method');
      if (way !== 'mesh.fetch') t.equal(await taken('http://a/', { headers: { host: 'other:81' } }), 'authority');
      t.equal(await taken('http://a/?x&debug'), 'query');
      t.equal(await taken('http://a/', { headers: { 'End-User': 'jason' } }), 'header');
      t.equal(await taken('http://a/'), 'without');
      t.equal(await taken('http://a/', { headers: { 'X-A': '1' } }), 'rest');
    });

    t.test('CORS: preflights are answered, other requests marked', async (t) => {
      const { server, clusters } = await echoing(t);
      const cors = {
        allowOrigins: [{ kind: 'exact', value: 'https://app.example' }],
        allowMethods: ['GET', 'PUT'],
        allowHeaders: ['x-a'],
        exposeHeaders: ['x-server'],
        maxAgeMs: 60_000,
        forwardUnmatchedPreflights: true,
      } as const;
      // fetch does not let a request say where it comes from; the route says it in its place.
      const routes = [route(to, { cors, headers: onResponse({ set: { 'access-control-allow-origin': 'wrong' } }) })];
      const mesh = await modelMesh(t, snapshot({ a: routes }, clusters));
      const origin = 'https://app.example';
      const ask = { origin, 'access-control-request-method': 'PUT' };
      if (way !== 'mesh.fetch') {
        const preflight = await call(mesh, 'http://a/', { method: 'OPTIONS', headers: ask });
        t.equal(preflight.status, 200);
        t.match(preflight.headers, {
          'access-control-allow-origin': origin,
          'access-control-allow-methods': 'GET,PUT',
          'access-control-allow-headers': 'x-a',
          'access-control-max-age': '60',
        });
        t.equal(server.seen.length, 0);
        const other = { ...ask, origin: 'https://evil.example' };
        const forwarded = await call(mesh, 'http://a/', { method: 'OPTIONS', headers: other });
        t.equal(seen(forwarded).method, 'OPTIONS');
        const actual = await call(mesh, 'http://a/', { headers: { origin } });
        t.match(actual.headers, {
          'access-control-allow-origin': origin,
          'access-control-expose-headers': 'x-server',
          'x-server': 'yes',
        });
      }
      const plain = await call(mesh, 'http://a/');
      t.equal(plain.headers['access-control-allow-origin'], 'wrong', 'without an origin there is no CORS');
      t.equal(plain.headers['access-control-expose-headers'], undefined);
    });

    t.test('a sticky split: the same caller, the same destination; the choice travels on', async (t) => {
      const servers = await Promise.all(['v1', 'v2'].map(() => echoing(t)));
      const clusters = servers.map(({ server }, i) => cluster('a', [endpoint(server.port)], { subset: `v${i + 1}` }));
      const sticky = { key: { kind: 'header', name: 'user' }, seed: 's', baggage: 'a' } as const;
      const split = (weight: number): Route =>
        route('', {
          sticky,
          destinations: clusters.map(({ name }, i) => ({ cluster: name, weight: i === 0 ? 100 - weight : weight })),
        });
      const chosen = async (weight: number): Promise<readonly (string | undefined)[]> => {
        const mesh = await modelMesh(t, snapshot({ a: [split(weight)] }, clusters));
        const names: (string | undefined)[] = [];
        for (let i = 0; i < 24; i++) {
          const user = `user-${i % 12}`;
          const echo = seen(await call(mesh, 'http://a/', { headers: { user, baggage: 'a=forged,other=1' } }));
          const match = /^other=1,a=(v[12])$/.exec(String(echo.headers['baggage']));
          names.push(match?.[1]);
        }
        return names;
      };
      const half = await chosen(50);
      t.same(half.slice(0, 12), half.slice(12));
      t.ok(half.includes('v1') && half.includes('v2') && !half.includes(undefined));
      const more = await chosen(80);
      t.notOk(
        half.some((name, i) => name === 'v2' && more[i] === 'v1'),
        'with more weight nobody leaves',
      );
      t.equal(
        servers.reduce((sum, { server }) => sum + server.seen.length, 0),
        48,
      );
    });

    t.test('the next hop matches the choice that travels in the baggage of its cause', async (t) => {
      const { clusters } = await echoing(t);
      const routes = [
        route(to, {
          matches: [{ baggage: [{ name: 'a', match: { kind: 'exact', value: 'v2' } }] }],
          headers: onResponse({ set: { 'x-route': 'canary' } }),
        }),
        route(to, { headers: onResponse({ set: { 'x-route': 'rest' } }) }),
      ];
      const mesh = await modelMesh(t, snapshot({ a: routes }, clusters));
      const scope = { requestId: 'r', traceHeaders: ['baggage', 'a=v2'], carried: ['end-user', 'jason'] };
      const caused = await runInScope(scope, () => call(mesh, 'http://a/'));
      t.equal(caused.headers['x-route'], 'canary');
      t.match(seen(caused).headers, { baggage: 'a=v2', 'end-user': 'jason', 'x-request-id': 'r' });
      t.equal((await call(mesh, 'http://a/')).headers['x-route'], 'rest');
    });
  });
}

t.test('failures that the mesh answers have the header edits of their route, and CORS', async (t) => {
  const cors = {
    allowOrigins: [{ kind: 'exact', value: '*' }],
    allowMethods: [],
    allowHeaders: [],
    exposeHeaders: [],
    forwardUnmatchedPreflights: true,
  } as const;
  const routes = [
    route(to, { cors, headers: onResponse({ set: { 'x-edited': '%RESPONSE_CODE%' }, remove: ['x-inmesh-error'] }) }),
  ];
  const client = testClient(snapshot({ a: routes }, [cluster('a', [])]));
  const failed = record(client.dispatcher, { headers: { origin: 'https://o' } });
  await failed.done;
  t.ok(failed.events.includes('503'));
  t.match(failed.headers, { 'x-edited': '503', 'access-control-allow-origin': 'https://o' });
  t.equal(failed.headers['x-inmesh-error'], undefined);
  const raw = (failed.controller.rawHeaders as readonly Buffer[]).map(String);
  t.ok(raw.includes('x-edited') && !raw.includes('x-inmesh-error'), 'in every view of the headers');
  await client.close();
});

t.test('informational responses have no header edits, upgrades have', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => {
    outgoing.writeEarlyHints({ link: '</a.css>; rel=preload' });
    outgoing.end('ok');
  });
  const routes = [route(to, { headers: onResponse({ set: { 'x-edited': 'yes' } }) })];
  const client = testClient(snapshot({ a: routes }, [cluster('a', [endpoint(server.port)])]));
  const heads: unknown[] = [];
  const call = record(client.dispatcher, {}, { onResponseStart: () => heads.push(call.headers['x-edited']) });
  await call.done;
  t.same(heads, [undefined, 'yes']);
  await client.close();
});

t.test('who wants a connection is told that the route has none', async (t) => {
  const routes = [route('', { ...noDestination, name: 'moved', redirect: { status: 301 } })];
  const client = testClient(snapshot({ a: routes }, []));
  const refused = { code: 'ERR_MESH_UNSUPPORTED', route: 'moved', message: /answers with status 301/ };
  await t.rejects(upgrade('http://a/', { dispatcher: client.dispatcher, protocol: 'websocket' }), refused);
  await client.close();
});

t.test('an abort in the middle of an answer of the mesh is an abort', async (t) => {
  const routes = [route('', { ...noDestination, direct: { status: 200, body: 'text' } })];
  const client = testClient(snapshot({ a: routes }, []));
  const call = record(
    client.dispatcher,
    {},
    { onResponseStart: (controller) => controller.abort(new Error('enough')) },
  );
  t.match(await call.done, /^error /);
  t.equal(call.text, '');
  await client.close();
});

for (const [way, call] of Object.entries(ways)) {
  t.test(`${way}: a host that is called at its own address has the edits of its route`, async (t) => {
    const { server } = await echoing(t);
    const host = `127.0.0.1:${server.port}`;
    const external = cluster('ext', [], { discovery: { kind: 'original' } });
    const routes = [
      route('', { ...noDestination, matches: [{ path: { kind: 'exact', value: '/gone' } }], direct: { status: 410 } }),
      route(external.name, {
        matches: [{ path: { kind: 'prefix', value: '/old' } }],
        rewrite: { pathPrefix: '/new' },
        headers: { ...onRequest({ set: { 'x-set': '1' } }), ...onResponse({ remove: ['x-server'] }) },
      }),
      route(external.name),
    ];
    const mesh = await modelMesh(t, {
      ...snapshot({}, [external]),
      hosts: new Map([[host, { name: 'ext:80', routes }]]),
    });
    const edited = await call(mesh, `http://${host}/old/1`);
    t.match(seen(edited), { url: '/new/1', headers: { host, 'x-set': '1', 'x-envoy-original-path': '/old/1' } });
    t.equal(edited.headers['x-server'], undefined);
    t.equal((await call(mesh, `http://${host}/gone`)).status, 410);
    t.equal((await call(mesh, `http://${host}/plain`)).headers['x-server'], 'yes');
  });
}
