import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { Agent, Dispatcher } from 'undici';
import { createFetch } from '../../src/host/fetch.ts';
import { asHandler } from '../../src/host/handler.ts';
import type { Nearness } from '../../src/host/redirects.ts';
import { currentScope, runInScope, type Scope } from '../../src/pipeline/scope.ts';

/** Leads every name to one server of the test, and remembers what was asked. */
class Leading extends Dispatcher {
  readonly #agent = new Agent();
  readonly asked: { readonly origin: string; readonly scope: Scope | undefined }[] = [];
  readonly #port: number;
  constructor(port: number) {
    super();
    this.#port = port;
  }
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.asked.push({ origin: String(options.origin), scope: currentScope() });
    return this.#agent.dispatch({ ...options, origin: `http://127.0.0.1:${this.#port}` }, asHandler(handler));
  }
  end = (): Promise<void> => this.#agent.destroy();
}

async function setUp(
  t: Test,
  location: string | Readonly<Record<string, string>>,
  nearnessOf?: (origin: string) => Nearness,
) {
  const seen: IncomingHttpHeaders[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(request.headers);
    const to =
      typeof location === 'string' ? (request.url === '/redirect' ? location : undefined) : location[request.url ?? ''];
    if (to !== undefined) response.writeHead(302, { location: to }).end();
    else response.end('arrived');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const dispatcher = new Leading((server.address() as AddressInfo).port);
  t.teardown(async () => {
    await dispatcher.end();
    server.close();
  });
  return { seen, dispatcher, fetch: createFetch(dispatcher, nearnessOf) };
}

const telling = {
  authorization: 'Bearer secret',
  baggage: 'user=jason',
  'x-forwarded-client-cert': 'By=spiffe://a;URI=spiffe://b',
  'x-jwt-claim-sub': 'jason',
  'x-api-key': 'secret',
  'x-envoy-attempt-count': '1',
  'x-harmless': 'yes',
};

t.test('what is told to another origin after a redirect (OUT-001)', async (t) => {
  const { dispatcher, fetch, seen } = await setUp(t, 'http://other.example/');
  const scope: Scope = {
    requestId: 'id',
    traceHeaders: ['traceparent', '00-1-1-01', 'baggage', 'user=jason'],
    carried: ['end-user', 'jason'],
    deadline: 1e12,
  };
  const reply = await runInScope(scope, () => fetch('http://shop/redirect', { headers: telling }));
  t.equal(await reply.text(), 'arrived');
  const [first, second] = seen;
  for (const [name, value] of Object.entries(telling)) t.equal(first?.[name], value, `${name} to the first`);
  const left = Object.keys(telling).filter((name) => second?.[name] !== undefined);
  t.same(left, ['x-harmless'], 'to the other');
  t.match(dispatcher.asked, [{ origin: 'http://shop' }, { origin: 'http://other.example' }]);
  const told = dispatcher.asked[1]?.scope;
  t.same(told?.traceHeaders, ['traceparent', '00-1-1-01']);
  t.equal(told?.carried, undefined);
  t.equal(told?.deadline, 1e12, 'the time that is left is still the same');
});

t.test('a redirect within the origin is told everything', async (t) => {
  const { fetch, seen } = await setUp(t, '/again');
  await (await fetch('http://shop/redirect', { headers: telling })).text();
  for (const [name, value] of Object.entries(telling)) t.equal(seen[1]?.[name], value, name);
});

t.test('redirects that are not followed (OUT-002, OUT-003)', async (t) => {
  const refused: readonly (readonly [string, string])[] = [
    ['https://shop/redirect', 'http://shop/'],
    ['https://shop/redirect', 'http://other.example/'],
    ['http://shop/redirect', 'http://169.254.169.254/latest/meta-data/'],
    ['http://shop/redirect', 'http://0251.0376.0251.0376/'],
    ['http://shop/redirect', 'http://2852039166/'],
    ['http://shop/redirect', 'http://[fe80::1]/'],
    ['http://shop/redirect', 'http://[fd00:ec2::254]/'],
    ['http://shop/redirect', 'http://[::ffff:169.254.169.254]/'],
    ['http://shop/redirect', 'http://127.0.0.1:8080/'],
    ['http://shop/redirect', 'http://127.1/'],
    ['http://shop/redirect', 'http://0.0.0.0/'],
    ['http://shop/redirect', 'http://localhost/'],
    ['http://shop/redirect', 'http://localhost./'],
    ['http://shop/redirect', 'http://a.localhost/'],
    ['http://shop/redirect', 'http://[::1]/'],
    ['http://shop/redirect', 'http://[::]/'],
    ['http://shop/redirect', 'http://[::ffff:127.0.0.1]/'],
  ];
  for (const [from, location] of refused) {
    const { dispatcher, fetch } = await setUp(t, location);
    const error = await fetch(from).then(
      () => undefined,
      (reason: Error) => reason,
    );
    t.match(error, { name: 'TypeError', cause: { code: 'ERR_MESH_UNSUPPORTED' } }, `${from} → ${location}`);
    t.equal(dispatcher.asked.length, 1, 'nothing was sent');
  }
});

t.test('redirects that are followed', async (t) => {
  const followed: readonly (readonly [string, string])[] = [
    ['http://shop/redirect', 'https://shop/'],
    ['http://shop/redirect', 'http://10.0.0.1/'],
    ['http://127.0.0.1/redirect', 'http://localhost/'],
    ['http://localhost/redirect', 'http://[::1]:8080/'],
    ['https://shop/redirect', 'https://other.example/'],
    ['http://shop/redirect', 'http://169.254.example/'],
  ];
  for (const [from, location] of followed) {
    const { dispatcher, fetch } = await setUp(t, location);
    t.equal((await fetch(from)).status, 200, `${from} → ${location}`);
    t.equal(dispatcher.asked.length, 2);
  }
});

t.test('redirect: manual hands the answer over, wherever it leads', async (t) => {
  const { fetch } = await setUp(t, 'http://169.254.169.254/');
  t.equal((await fetch('http://shop/redirect', { redirect: 'manual' })).status, 302);
});

t.test('who is outside of the mesh leads nobody into it, in however many steps', async (t) => {
  const inside = (origin: string): Nearness =>
    origin.endsWith('.mesh') ? 'mesh' : origin.endsWith('.partner') ? 'external' : 'unknown';
  const refused: readonly (readonly [string, Readonly<Record<string, string>>, number])[] = [
    ['http://out.example/1', { '/1': 'http://shop.mesh/2' }, 1],
    ['http://shop.mesh/1', { '/1': 'http://out.example/2', '/2': 'http://other.mesh/3' }, 2],
    ['http://shop.mesh/1', { '/1': 'http://out.example/2', '/2': 'http://shop.mesh/3' }, 2],
    ['http://out.example/1', { '/1': 'http://else.example/2', '/2': 'http://shop.mesh/3' }, 2],
    ['http://a.partner/1', { '/1': 'http://shop.mesh/2' }, 1],
    ['http://shop.mesh/1', { '/1': 'http://a.partner/2', '/2': 'http://shop.mesh/3' }, 2],
    ['http://out.example/1', { '/1': 'http://a.partner/2' }, 1],
  ];
  for (const [from, locations, asked] of refused) {
    const { dispatcher, fetch } = await setUp(t, locations, inside);
    const error = await fetch(from).catch((reason: unknown) => reason);
    t.match(error, { name: 'TypeError', cause: { code: 'ERR_MESH_UNSUPPORTED', message: /from outside of the mesh/ } });
    t.equal(dispatcher.asked.length, asked, `${from}: nothing was sent into the mesh`);
  }
  const followed: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['http://shop.mesh/1', { '/1': 'http://other.mesh/2', '/2': 'http://out.example/3' }],
    ['http://out.example/1', { '/1': 'http://else.example/2', '/2': '/3' }],
    ['http://shop.mesh/1', { '/1': 'http://a.partner/2', '/2': '/3', '/3': 'http://b.partner/4' }],
  ];
  for (const [from, locations] of followed) {
    const { fetch } = await setUp(t, locations, inside);
    t.equal(await (await fetch(from)).text(), 'arrived', from);
  }
});
