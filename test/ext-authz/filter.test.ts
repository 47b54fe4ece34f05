import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, connect as http2Connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { Agent } from 'undici';
import { type AuthorizerCalls, createAuthorizerCalls } from '../../src/authorizer-calls.ts';
import type { HttpAnswer, HttpQuestion } from '../../src/ext-authz/http-check.ts';
import type { AuthorizationCheck, AuthorizationVerdict, HeaderMutation } from '../../src/ext-authz/service.ts';
import { dropRemovedQuery } from '../../src/host/parsed-query.ts';
import type { AuthorizationPolicy } from '../../src/model/authorization.ts';
import type { ExternalAuthorizer, HttpChecks } from '../../src/model/external-authorizer.ts';
import type { InboundPolicy } from '../../src/model/inbound.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { http2Request, http2Session } from '../support/http2-client.ts';
import { inboundSnapshot, rawExchange, testPipeline } from '../support/inbound.ts';
import { tokenRule } from '../support/tokens.ts';

const at = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'ask' };

/** Asks about everything below `/ask`. */
const custom = (provider = 'authz', more: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy => ({
  action: 'CUSTOM',
  provider,
  rules: [{ from: [], to: [{ paths: [{ kind: 'prefix', value: '/ask' }] }] }],
  provenance: at,
  ...more,
});

const http = (more: Partial<HttpChecks> = {}): HttpChecks => ({
  kind: 'http',
  pathPrefix: '',
  requestHeaders: [],
  addedHeaders: [],
  toUpstreamOnAllow: [],
  toDownstreamOnAllow: [],
  toDownstreamOnDeny: [],
  ...more,
});

const authorizer = (more: Partial<ExternalAuthorizer> = {}): ExternalAuthorizer => ({
  name: 'authz',
  service: 'authz.infra:8000',
  timeoutMs: 1_000,
  failOpen: false,
  statusOnError: 403,
  protocol: http(),
  provenance: at,
  ...more,
});

type Answer = (question: HttpQuestion, signal: AbortSignal) => Partial<HttpAnswer> | Promise<Partial<HttpAnswer>>;

interface Given {
  readonly policy?: Partial<InboundPolicy>;
  readonly authorizer?: Partial<ExternalAuthorizer>;
  answer?: Answer | undefined;
  check?: (question: AuthorizationCheck) => AuthorizationVerdict | Promise<AuthorizationVerdict>;
  readonly app?: RequestListener;
  /** A server of the application's own that speaks HTTP/2. */
  readonly overHttp2?: boolean;
  /** What stands before the mesh. */
  readonly before?: (request: IncomingMessage, next: () => void) => void;
}

const echo: RequestListener = (request, response) => {
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (text: string) => (body += text));
  request.on('end', () => response.end(JSON.stringify({ url: request.url, headers: request.headers, body })));
};

async function serve(t: Test, given: Given = {}) {
  const questions: HttpQuestion[] = [];
  const checks: AuthorizationCheck[] = [];
  const clock = fakeClock();
  const authorizerCalls: AuthorizerCalls = {
    async http(service, question, signal) {
      t.equal(service, 'authz.infra:8000');
      questions.push(question);
      const answer = await given.answer?.(question, signal);
      return { status: 200, headers: [], body: Buffer.alloc(0), ...answer };
    },
    unary: () => Promise.reject(new Error('not in this test')),
  };
  const policy = { authorization: [custom()], authorizers: [authorizer(given.authorizer)], ...given.policy };
  const { check } = given;
  const parts = testPipeline(inboundSnapshot(policy), {
    clock,
    authorizerCalls,
    ownPrincipal: () => 'spiffe://cluster.local/ns/shop/sa/web',
    externalAuthorization:
      check === undefined
        ? undefined
        : {
            async check(question) {
              checks.push(question);
              return check(question);
            },
          },
  });
  const app = given.app ?? echo;
  const before = given.before ?? ((_, next) => next());
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    before(request, () => parts.pipeline.handle(request, response, () => app(request, response)));
  const server = given.overHttp2 === true ? createHttp2Server(handle as never) : createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const send = async (path: string, headers = '', method = 'GET', body = '') =>
    (await rawExchange(port, `${method} ${path} HTTP/1.1\r\nHost: Shop:80\r\n${headers}\r\n${body}`))[0];
  return { ...parts, clock, questions, checks, port, send };
}

const seen = (answer: { readonly body: string } | undefined) =>
  JSON.parse(answer?.body ?? '{}') as { url: string; headers: Record<string, string>; body: string };
const post = (body: string): [string, string, string] => [`content-length: ${body.length}\r\n`, 'POST', body];
const status = (value: number) => () => ({ status: value });

t.test('what no CUSTOM policy is for is not asked about; what one is for passes when it is allowed', async (t) => {
  const { pipeline, questions, send } = await serve(t);
  t.equal((await send('/other'))?.status, 200);
  t.equal(questions.length, 0);
  t.equal((await send('/ask/me?q=1', 'authorization: Bearer x\r\nx-role: admin\r\ncookie: a=b\r\n'))?.status, 200);
  t.same(questions, [
    {
      method: 'GET',
      path: '/ask/me?q=1',
      headers: ['host', 'Shop:80', 'authorization', 'Bearer x'],
      body: undefined,
    },
  ]);
  t.same(pipeline.authorizers(), [{ name: 'authz', asked: 1, allowed: 1, denied: 0, failed: 0, failedOpen: 0 }]);
});

t.test('a path counts as asked about in every form that a router could make of it', async (t) => {
  const { questions, send } = await serve(t, { answer: status(403) });
  for (const path of ['/ASK', '//ask', '/x;/../ask', '/%61sk', '/a/../ask/']) {
    t.equal((await send(path))?.status, 403, path);
  }
  t.equal(questions.length, 5);
});

t.test('the question has the headers that the configuration names, and not those of the connection', async (t) => {
  const { questions, send } = await serve(t, {
    authorizer: {
      protocol: http({
        pathPrefix: '/check',
        requestHeaders: [
          { kind: 'exact', value: 'x-one' },
          { kind: 'prefix', value: 'x-many-' },
          { kind: 'suffix', value: '-id' },
        ],
        addedHeaders: [
          ['X-One', 'ours'],
          ['x-static', 'yes'],
        ],
      }),
    },
  });
  await send('/ask', 'X-One: theirs\r\nX-Many-A: 1\r\nx-many-a: 2\r\nuser-id: 7\r\nx-other: no\r\nTE: trailers\r\n');
  t.same(questions[0], {
    method: 'GET',
    path: '/check/ask',
    headers: ['host', 'Shop:80', 'x-many-a', '1,2', 'user-id', '7', 'X-One', 'ours', 'x-static', 'yes'],
    body: undefined,
  });
});

t.test('what the authorizer allows reaches the application with the headers that it may set', async (t) => {
  const exact = (value: string) => ({ kind: 'exact', value }) as const;
  const { send } = await serve(t, {
    authorizer: {
      protocol: http({
        toUpstreamOnAllow: [exact('x-user'), exact('content-length'), exact('host')],
        toDownstreamOnAllow: [exact('x-told'), exact('set-cookie')],
      }),
    },
    answer: () => ({
      headers: [
        ['x-user', 'ann'],
        ['x-secret', 'not named'],
        ['content-length', '2'],
        ['host', 'evil'],
        ['x-told', 'yes'],
        ['set-cookie', 'a=1'],
        ['x-envoy-auth-headers-to-remove', 'X-Drop, host,, cookie'],
      ],
      body: Buffer.from('ok'),
    }),
    app: (request, response) => {
      const { headers, headersDistinct: distinct, rawHeaders: raw } = request;
      const body = JSON.stringify({ headers, distinct, raw });
      response.writeHead(201, { 'content-length': body.length, 'set-cookie': ['b=2', 'c=3'] });
      response.end(body);
    },
  });
  const answer = await send('/ask', 'X-User: mallory\r\nx-user: eve\r\nx-drop: 1\r\ncookie: s=1\r\nx-stays: 1\r\n');
  t.equal(answer?.status, 201);
  const { distinct, headers, raw } = JSON.parse(answer?.body ?? '') as Record<string, Record<string, unknown>>;
  t.same(Object.keys(headers ?? {}).sort(), ['host', 'x-request-id', 'x-stays', 'x-user']);
  t.match(headers, { host: 'Shop:80', 'x-user': 'ann' });
  t.same(distinct?.['x-user'], ['ann']);
  t.notMatch(JSON.stringify(raw), /mallory|eve|evil|X-Drop/i);
  t.equal(answer?.headers['x-told'], 'yes');
});

t.test('response headers are put beside those of the application, however it writes them', async (t) => {
  const given = { toDownstreamOnAllow: [{ kind: 'prefix', value: 'x-' }] as const };
  const heads: RequestListener[] = [
    (_, response) => void response.end('{}'),
    (_, response) => void response.setHeader('x-a', 'app').end(),
    (_, response) => void response.writeHead(200, 'fine', { 'X-A': 'app' }).end(),
    (_, response) => void response.writeHead(200, ['x-a', 'app', 'x-b', '2'] as never).end(),
  ];
  for (const [index, app] of heads.entries()) {
    const { port } = await serve(t, {
      authorizer: { protocol: http(given) },
      answer: () => ({ headers: [['x-a', 'authz']] }),
      app,
    });
    const response = await fetch(`http://127.0.0.1:${port}/ask`);
    t.equal(response.headers.get('x-a'), index === 0 ? 'authz' : 'app, authz', `way ${index}`);
    if (index === 3) t.equal(response.headers.get('x-b'), '2');
  }
});

t.test('a denial is answered in the words of the authorizer', async (t) => {
  const headers: [string, string][] = [
    ['location', 'https://login.example/'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['x-why', 'no'],
    ['content-length', '999'],
    ['connection', 'keep-alive'],
    ['x-envoy-auth-headers-to-remove', 'host'],
  ];
  const deny = () => ({ status: 302, headers, body: Buffer.from('go there') });
  const all = await serve(t, { answer: deny });
  const answer = await all.send('/ask');
  t.match(answer, { status: 302, body: 'go there', headers: { location: 'https://login.example/', 'x-why': 'no' } });
  t.equal(answer?.headers['content-type'], 'text/plain');
  t.notOk('x-inmesh-error' in (answer?.headers ?? {}));
  t.notOk('x-envoy-auth-headers-to-remove' in (answer?.headers ?? {}));
  t.match(all.metrics.snapshot(), [{ flags: { UAEX: 1 } }]);
  const response = await fetch(`http://127.0.0.1:${all.port}/ask`, { redirect: 'manual' });
  t.same(response.headers.getSetCookie(), ['a=1', 'b=2']);
  const some = await serve(t, {
    answer: deny,
    authorizer: { protocol: http({ toDownstreamOnDeny: [{ kind: 'exact', value: 'x-why' }] }) },
  });
  const named = await some.send('/ask');
  t.match(named?.headers, { 'x-why': 'no', location: 'https://login.example/' });
  t.notOk('set-cookie' in (named?.headers ?? {}));
  t.notMatch(
    inspect(all.logger.lines, { depth: 9 }),
    /a=1|login\.example/,
    'a session that begins is nothing for the log',
  );
  t.match(all.pipeline.authorizers(), [{ asked: 2, denied: 2 }]);
});

const failures: Record<string, Answer> = {
  'cannot be reached': () => Promise.reject(new Error('connection refused')),
  'answers 503': status(503),
};
for (const [name, answer] of Object.entries(failures)) {
  t.test(`an authorizer that ${name}: refused with statusOnError, or passed with failOpen (AUTHZ-006)`, async (t) => {
    const closed = await serve(t, { answer });
    t.match(await closed.send('/ask'), { status: 403, body: '', headers: { 'x-inmesh-error': 'ERR_MESH_AUTHORIZER' } });
    t.equal((await closed.send('/ask'))?.status, 403);
    t.equal((await closed.send('/free'))?.status, 200);
    t.equal(closed.logger.lines.filter(({ message }) => /does not answer/.test(message)).length, 1, 'said once');
    t.match(closed.pipeline.authorizers(), [{ asked: 2, failed: 2, failedOpen: 0 }]);
    const other = await serve(t, { answer, authorizer: { statusOnError: 503 } });
    t.equal((await other.send('/ask'))?.status, 503);
    const open = await serve(t, { answer, authorizer: { failOpen: true } });
    t.equal((await open.send('/ask'))?.status, 200);
    t.match(open.pipeline.authorizers(), [{ asked: 1, failed: 1, failedOpen: 1 }]);
  });
}

const unsendable: Record<string, Answer> = {
  'a denial': () => ({ status: 401, headers: [['x-why', 'caf\u2013']] }),
  'what it allows': () => ({ headers: [['x-user', 'a\nb']] }),
};
for (const [name, answer] of Object.entries(unsendable)) {
  t.test(`${name} with a header that HTTP cannot carry is refused, whatever failOpen says`, async (t) => {
    const protocol = http({ toUpstreamOnAllow: [{ kind: 'exact', value: 'x-user' }] });
    for (const failOpen of [false, true]) {
      const { logger, pipeline, send } = await serve(t, { answer, authorizer: { failOpen, protocol } });
      t.match(await send('/ask', 'x-user: root\r\n'), {
        status: 403,
        headers: { 'x-inmesh-error': 'ERR_MESH_AUTHORIZER' },
      });
      t.match(pipeline.authorizers(), [{ asked: 1, failed: 1, failedOpen: 0 }]);
      t.match(logger.lines, [{ level: 'warn', message: /cannot be used: requests are refused/ }]);
    }
  });
}

t.test('a denial with a body that nobody reads whole is a denial without one', async (t) => {
  const server = createServer((_, response) => void response.writeHead(403).end(Buffer.alloc(1_048_577)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const agent = new Agent();
  t.teardown(async () => {
    await agent.destroy();
    server.close();
  });
  const service = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const question = { method: 'GET', path: '/', headers: ['host', 'a'], body: undefined };
  const answer = await createAuthorizerCalls(agent).http(service, question, new AbortController().signal);
  t.match(answer, { status: 403, body: { length: 0 } });
});

t.test('an authorizer that does not answer is waited for no longer than its time, and then not asked on', async (t) => {
  let told: AbortSignal | undefined;
  const { clock, send } = await serve(t, {
    answer: (_, signal) => {
      told = signal;
      return new Promise(() => {});
    },
  });
  const answer = send('/ask');
  while (clock.pending() === 0) await nextTurn();
  clock.advance(999);
  t.equal(told?.aborted, false);
  clock.advance(1);
  t.equal((await answer)?.status, 403);
  t.equal(told?.aborted, true);
});

t.test('nobody asks on for a client that has gone', async (t) => {
  const aborted = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const { port, pipeline } = await serve(t, {
    answer: (_, signal) => {
      signal.addEventListener('abort', () => aborted.resolve());
      asked.resolve();
      return new Promise(() => {});
    },
  });
  const controller = new AbortController();
  const gone = fetch(`http://127.0.0.1:${port}/ask`, { signal: controller.signal }).catch(() => undefined);
  await asked.promise;
  controller.abort();
  await Promise.all([gone, aborted.promise]);
  t.match(pipeline.authorizers(), [{ asked: 1, allowed: 0 }]);
});

t.test('who goes away while the authorizer is asked reaches nobody, by HTTP/2 and with failOpen either', async (t) => {
  const asked = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let reached = 0;
  const { port, pipeline, logger } = await serve(t, {
    overHttp2: true,
    authorizer: { failOpen: true },
    answer(_, signal) {
      signal.addEventListener('abort', () => ended.resolve());
      asked.resolve();
      return new Promise(() => {});
    },
    app: () => void reached++,
  });
  const session = http2Session(port);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':method': 'DELETE', ':path': '/ask' });
  stream.on('error', () => {});
  await asked.promise;
  stream.close(8);
  await ended.promise;
  await nextTurn();
  t.equal(reached, 0);
  t.match(pipeline.authorizers(), [{ asked: 1, failed: 0, failedOpen: 0 }]);
  t.notOk(
    logger.lines.some(({ message }) => /does not answer/.test(message)),
    'the authorizer is not blamed',
  );
});

t.test('cookies are told as the application reads them, over however many fields they come', async (t) => {
  const given = { authorizer: { protocol: http({ requestHeaders: [{ kind: 'exact', value: 'cookie' }] }) } } as const;
  const one = await serve(t, given);
  await one.send('/ask', 'cookie: a=1\r\nCookie: session=2\r\n');
  t.same(one.questions[0]?.headers, ['host', 'Shop:80', 'cookie', 'a=1; session=2']);
  const two = await serve(t, { ...given, overHttp2: true });
  const session = http2Session(two.port);
  t.teardown(() => session.destroy());
  await http2Request(session, { ':path': '/ask', cookie: ['a=1', 'session=2'] });
  t.same(two.questions[0]?.headers.slice(2), ['cookie', 'a=1; session=2']);
});

t.test('a query that the authorizer changes is changed wherever a request of HTTP/2 shows it', async (t) => {
  const { port } = await serve(t, {
    overHttp2: true,
    authorizer: { protocol: { kind: 'grpc' } },
    check: () => ({
      kind: 'allow',
      requestHeaders: [],
      removedHeaders: [],
      query: { set: [['tenant', '7']], remove: ['secret'] },
      responseHeaders: [],
    }),
    app: ({ headers, rawHeaders, url }, response) => response.end(JSON.stringify({ url, headers, rawHeaders })),
  });
  const session = http2Session(port);
  t.teardown(() => session.destroy());
  const { body } = await http2Request(session, { ':path': '/ask?secret=s&tenant=1' });
  t.equal(JSON.parse(body).url, '/ask?tenant=7');
  t.notMatch(body, /secret|tenant=1/);
});

t.test(
  'a query that the authorizer sets is URL-encoded already, as Envoy has it, and is one parameter whatever is in it',
  async (t) => {
    const cases: Record<string, string> = {
      '/ask': '/ask?b=x%20y&c+d=e=f%3D',
      '/ask?a=1&b=2&c%20d=3&%62': '/ask?a=1&b=x%20y&c+d=e=f%3D',
    };
    const set: readonly (readonly [string, string])[] = [
      ['b', 'x y'],
      ['c+d', 'e=f%3D'],
    ];
    const odd: readonly (readonly [string, string])[] = [['q', '1&admin=1#50% \u00e9%41']];
    for (const [path, url] of Object.entries(cases)) t.equal(await changed(path, set), url);
    t.equal(
      await changed('/ask?[b]=1&b[]=2&x[b]=3', set.slice(0, 1)),
      '/ask?x[b]=3&b=x%20y',
      'as Express 4 names them',
    );
    t.equal(await changed('/ask', odd), '/ask?q=1%26admin=1%2350%25%20%C3%A9%41');

    async function changed(path: string, params: typeof set): Promise<string> {
      const { send } = await serve(t, {
        authorizer: { protocol: { kind: 'grpc' } },
        check: () => ({
          kind: 'allow',
          requestHeaders: [],
          removedHeaders: [],
          query: { set: params, remove: [] },
          responseHeaders: [],
        }),
      });
      return seen(await send(path)).url;
    }
  },
);

t.test('what a framework has parsed of the query before follows', (t) => {
  const query: Record<string, unknown> = { tenant: '1', list: ['1', '2'], same: ['a', 'b'], token: 'x' };
  const same = 'same=a&same=b';
  dropRemovedQuery(`/?tenant=1&list=1&list=2&${same}&token=x`, `/?${same}&tenant=7&list=3&list=4&more=1`, query);
  t.same(query, { same: ['a', 'b'], tenant: '7', list: ['3', '4'], more: '1' });
  const nested: Record<string, unknown> = { tenant: ['7', '1'], other: { x: '1' } };
  dropRemovedQuery('/?tenant=7&[tenant]=1&other[x]=1', '/?other[x]=1&tenant=7', nested);
  t.same(nested, { tenant: '7', other: { x: '1' } });
  t.end();
});

t.test('OPTIONS * is asked about, too', async (t) => {
  const anything: AuthorizationPolicy['rules'] = [{ from: [], to: [] }];
  const policy = { authorization: [custom('authz', { rules: anything })] };
  const { questions, send } = await serve(t, { policy, answer: status(403), authorizer: { failOpen: true } });
  t.equal((await send('*', '', 'OPTIONS'))?.status, 403);
  t.equal(questions[0]?.path, '/*');
});

const unusable: Record<string, Given> = {
  'a provider that is nowhere': { policy: { authorization: [custom('nobody')] } },
  'two providers': { policy: { authorization: [custom(), custom('other')], authorizers: [authorizer()] } },
  'a service that is not to be had': { authorizer: { service: undefined, failOpen: true } },
  'gRPC without anybody who speaks it': { authorizer: { protocol: { kind: 'grpc' }, failOpen: true } },
};
for (const [name, given] of Object.entries(unusable)) {
  t.test(`${name}: what policies are for is refused, whatever failOpen says`, async (t) => {
    const { questions, send } = await serve(t, given);
    t.match(await send('/ask'), { status: 403, body: 'RBAC: access denied' });
    t.equal((await send('/free'))?.status, 200);
    t.equal(questions.length, 0);
  });
}

t.test('CUSTOM comes before DENY and ALLOW, and replaces neither', async (t) => {
  const all = [{ from: [], to: [{ paths: [{ kind: 'prefix', value: '/ask/d' }] as const }] }];
  const deny: AuthorizationPolicy = { action: 'DENY', rules: all, provenance: at };
  const { questions, send } = await serve(t, { policy: { authorization: [deny, custom()] } });
  t.equal((await send('/ask/denied'))?.status, 403);
  t.equal(questions.length, 1, 'asked first');
  t.equal((await send('/ask'))?.status, 200);
  const refusing = await serve(t, { answer: status(401), policy: { authorization: [deny, custom()] } });
  t.equal((await refusing.send('/ask/denied'))?.status, 401);
});

t.test('CUSTOM comes before tokens are looked at, and the authorizer sees them', async (t) => {
  const rules = [tokenRule('{"keys": []}')];
  const requestAuthentication = [{ rules, provenance: at }];
  const { questions, send } = await serve(t, { policy: { requestAuthentication } });
  t.equal((await send('/ask', 'authorization: Bearer nonsense\r\n'))?.status, 401);
  t.same(questions[0]?.headers, ['host', 'Shop:80', 'authorization', 'Bearer nonsense'], 'asked first');
  const refusing = await serve(t, { answer: status(418), policy: { requestAuthentication } });
  t.equal((await refusing.send('/ask', 'authorization: Bearer nonsense\r\n'))?.status, 418);
});

t.test('a policy that is only tried out asks nobody, nor does one without rules', async (t) => {
  for (const more of [{ dryRun: true }, { rules: [] }] as const) {
    const { questions, send } = await serve(t, {
      answer: status(403),
      policy: { authorization: [custom('authz', more)] },
    });
    t.equal((await send('/ask'))?.status, 200);
    t.equal(questions.length, 0);
  }
});

t.test('the body goes along where that is wanted, and the application reads all of it', async (t) => {
  const body = { maxBytes: 10, allowPartial: false, asBytes: false };
  const { questions, send } = await serve(t, { authorizer: { body } });
  t.equal(seen(await send('/ask', ...post('ten bytes!'))).body, 'ten bytes!');
  t.same(questions[0]?.body?.toString(), 'ten bytes!');
  t.match(questions[0]?.headers.join(), /x-envoy-auth-partial-body,false/);
  const chunked = 'transfer-encoding: chunked\r\n';
  t.equal(seen(await send('/ask', chunked, 'POST', '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n')).body, 'abcde');
  t.equal(questions[1]?.body?.toString(), 'abcde');
  t.equal(seen(await send('/ask', 'x-envoy-auth-partial-body: true\r\n')).body, '');
  t.same(questions[2]?.headers, ['host', 'Shop:80'], 'none: nothing is said of it');
  t.equal(seen(await send('/ask', 'content-length: 0\r\n', 'POST')).body, '');
  t.equal(seen(await send('/ask', chunked, 'POST', '0\r\n\r\n')).body, '');
  t.equal(questions.length, 5);
  t.match(await send('/ask', ...post('eleven byte')), { status: 413 });
  t.match(await send('/ask', chunked, 'POST', 'b\r\neleven byte\r\n0\r\n\r\n'), { status: 413 });
  t.equal(questions.length, 5, 'not asked about');
});

t.test('a long body is refused even with failOpen, as in Envoy', async (t) => {
  const { send } = await serve(t, {
    answer: status(503),
    authorizer: { body: { maxBytes: 2, allowPartial: false, asBytes: false }, failOpen: true },
  });
  t.equal((await send('/ask', ...post('abc')))?.status, 413);
  t.equal((await send('/ask', ...post('ab')))?.status, 200);
});

t.test('a header that asks for another protocol hides no body: nothing is upgraded here', async (t) => {
  const body = { maxBytes: 10, allowPartial: false, asBytes: false };
  const { questions, send } = await serve(t, { authorizer: { body } });
  for (const more of ['upgrade: websocket\r\n', 'connection: upgrade\r\nupgrade: websocket\r\n']) {
    t.equal(seen(await send('/ask', `${more}content-length: 4\r\n`, 'POST', 'evil')).body, 'evil');
    t.equal(questions.at(-1)?.body?.toString(), 'evil', more);
  }
});

t.test('a part of the body is enough where that is said', async (t) => {
  const { questions, send } = await serve(t, {
    authorizer: { body: { maxBytes: 4, allowPartial: true, asBytes: false } },
  });
  t.equal(seen(await send('/ask', ...post('0123456789'))).body, '0123456789');
  t.equal(questions[0]?.body?.toString(), '0123');
  t.match(questions[0]?.headers.join(), /x-envoy-auth-partial-body,true/);
  const long = 'x'.repeat(300_000);
  t.equal(seen(await send('/ask', ...post(long))).body, long);
  t.equal(seen(await send('/ask', ...post('ab'))).body, 'ab');
  t.match(questions[2]?.headers.join(), /x-envoy-auth-partial-body,false/);
  // Exactly as much as is shown, and then the rest.
  const halves = '4\r\n0123\r\n';
  const chunked = 'transfer-encoding: chunked\r\n';
  t.equal(seen(await send('/ask', chunked, 'POST', `${halves}4\r\n4567\r\n0\r\n\r\n`)).body, '01234567');
  t.match(questions[3]?.headers.join(), /x-envoy-auth-partial-body,true/);
  t.equal(seen(await send('/ask', chunked, 'POST', `${halves}0\r\n\r\n`)).body, '0123');
  t.match(questions[4]?.headers.join(), /x-envoy-auth-partial-body,false/);
});

t.test('a body that somebody reads before the mesh is not passed for an empty one', async (t) => {
  const body = { maxBytes: 8, allowPartial: true, asBytes: false };
  const ways: Readonly<Record<string, NonNullable<Given['before']>>> = {
    'has read': (request, next) => void request.resume().on('end', next),
    'has read, and waited': (request, next) => void request.resume().on('end', () => setImmediate(next)),
    'is reading': (request, next) => {
      request.on('data', () => {});
      setImmediate(next);
    },
  };
  for (const [way, before] of Object.entries(ways)) {
    for (const failOpen of [false, true]) {
      const { questions, send } = await serve(t, {
        authorizer: { body, failOpen },
        before,
        app: (_, response) => void response.end(),
      });
      t.match(
        await send('/ask', ...post('secret')),
        { status: 500, headers: { 'x-inmesh-error': 'ERR_MESH_OPTION_INVALID' } },
        way,
      );
      t.same(questions, [], 'nothing to ask about');
      t.match(await send('/ask'), { status: 200 }, 'without a body there is nothing to miss');
    }
  }
});

t.test('a gRPC authorizer is told what Envoy tells it', async (t) => {
  const allow: AuthorizationVerdict = {
    kind: 'allow',
    requestHeaders: [
      { name: 'X-New', value: '1', action: 'overwrite' },
      { name: 'x-there', value: 'b', action: 'append' },
      { name: 'x-there2', value: 'b', action: 'add-if-absent' },
      { name: 'x-absent', value: 'b', action: 'overwrite-if-exists' },
      { name: ':path', value: '/evil', action: 'overwrite' },
    ],
    removedHeaders: ['X-Gone', ':method'],
    query: { set: [['b', 'x y']], remove: ['admin'] },
    responseHeaders: [{ name: 'x-told', value: 'yes', action: 'overwrite' }],
  };
  const { checks, clock, port, send } = await serve(t, {
    authorizer: { protocol: { kind: 'grpc' }, body: { maxBytes: 100, allowPartial: false, asBytes: true } },
    check: () => allow,
  });
  const answer = await send(
    '/ask?a=1&%61dmin=1&b=2',
    `x-there: a\r\nx-there2: a\r\nx-gone: 1\r\nX-Twice: 1\r\nx-twice: 2\r\n${post('hi')[0]}`,
    'POST',
    'hi',
  );
  const { body, headers, url } = seen(answer);
  t.match(headers, { 'x-new': '1', 'x-there': 'a,b', 'x-there2': 'a' });
  t.notOk('x-gone' in headers || 'x-absent' in headers);
  t.equal(url, '/ask?a=1&b=x%20y');
  t.equal(body, 'hi');
  t.equal(answer?.headers['x-told'], 'yes');
  const { attributes, provider, service } = checks[0] as AuthorizationCheck;
  t.match({ provider, service }, { provider: 'authz', service: 'authz.infra:8000' });
  const { body: shown, headers: sent, ...rest } = attributes;
  t.match(rest, {
    source: { address: '127.0.0.1', principal: '' },
    destination: { address: '127.0.0.1', port, principal: '' },
    timeMs: clock.wallNow(),
    id: '1',
    method: 'POST',
    path: '/ask?a=1&%61dmin=1&b=2',
    host: 'Shop:80',
    scheme: 'http',
    protocol: 'HTTP/1.1',
  });
  t.same(shown, { bytes: Buffer.from('hi'), partial: false, asBytes: true });
  t.same(Object.fromEntries(sent), {
    ':authority': 'Shop:80',
    ':method': 'POST',
    ':path': '/ask?a=1&%61dmin=1&b=2',
    ':scheme': 'http',
    'x-there': 'a',
    'x-there2': 'a',
    'x-gone': '1',
    'x-twice': '1,2',
    'content-length': '2',
    'x-envoy-auth-partial-body': 'false',
  });
});

t.test('a gRPC authorizer that says it cannot decide has failed, with an answer of its own', async (t) => {
  const verdict: AuthorizationVerdict = {
    kind: 'error',
    status: 429,
    headers: [{ name: 'retry-after', value: '5', action: 'append' }],
    body: Buffer.from('later'),
  };
  const grpc = { protocol: { kind: 'grpc' } } as const;
  const closed = await serve(t, { authorizer: grpc, check: () => verdict });
  t.match(await closed.send('/ask'), { status: 429, body: 'later', headers: { 'retry-after': '5' } });
  const open = await serve(t, { authorizer: { ...grpc, failOpen: true }, check: () => verdict });
  t.equal((await open.send('/ask'))?.status, 200);
});

t.test('a denial with a status that is none is refused, whatever failOpen says', async (t) => {
  const { send } = await serve(t, {
    authorizer: { protocol: { kind: 'grpc' }, failOpen: true },
    check: () => ({ kind: 'deny', status: 99, headers: [], body: Buffer.alloc(0) }),
  });
  t.match(await send('/ask'), { status: 403, headers: { 'x-inmesh-error': 'ERR_MESH_AUTHORIZER' } });
});

t.test('an application that leaves the body unread holds up no connection', async (t) => {
  const { port } = await serve(t, {
    authorizer: { body: { maxBytes: 4, allowPartial: true, asBytes: false } },
    app: (request, response) =>
      void response.setHeader('content-length', 2).end(request.method === 'GET' ? 'ok' : 'no'),
  });
  const body = 'x'.repeat(400_000);
  const first = `POST /ask HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const answers = await rawExchange(port, `${first}GET /ask HTTP/1.1\r\nHost: a\r\n\r\n`, { answers: 2 });
  t.same(
    answers.map((answer) => answer.body),
    ['no', 'ok'],
  );
});

t.test('bodies on an HTTP/2 server of the application itself', async (t) => {
  const body = { maxBytes: 100, allowPartial: true, asBytes: false };
  const { pipeline, questions } = await serve(t, { authorizer: { body } });
  const server = createHttp2Server((request, response) => {
    const [asked, answer] = [request as unknown as IncomingMessage, response as unknown as ServerResponse];
    pipeline.handle(asked, answer, () => echo(asked, answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2Connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => {
    session.close();
    server.close();
  });
  const send = async (text: string): Promise<string> => {
    const stream = session.request({ ':method': 'POST', ':path': '/ask' }, { endStream: text === '' });
    if (text !== '') stream.end(text);
    let answer = '';
    stream.setEncoding('utf8').on('data', (part: string) => (answer += part));
    await once(stream, 'end');
    return (JSON.parse(answer) as { body: string }).body;
  };
  const long = 'y'.repeat(200_000);
  t.equal(await send('hello'), 'hello');
  t.equal(await send(long), long);
  t.equal(await send(''), '');
  t.same(
    questions.map((question) => question.body?.toString()),
    ['hello', long.slice(0, 100), undefined],
  );
});

t.test('a header that HTTP/2 has once is there once', async (t) => {
  const given: Given = {
    overHttp2: true,
    authorizer: { protocol: http({ toDownstreamOnAllow: [{ kind: 'exact', value: 'content-type' }] }) },
    app: (request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(request.method),
  };
  const allowing = await serve(t, { ...given, answer: () => ({ headers: [['content-type', 'text/plain']] }) });
  const one = http2Session(allowing.port);
  t.teardown(() => one.destroy());
  t.match(await http2Request(one, { ':path': '/ask' }), { status: 200, headers: { 'content-type': 'text/html' } });
  const location: HeaderMutation = { name: 'location', value: '/a', action: 'append' };
  const denying = await serve(t, {
    ...given,
    authorizer: { protocol: { kind: 'grpc' } },
    check: () => ({ kind: 'deny', status: 302, headers: [location, location], body: Buffer.from('no') }),
  });
  const two = http2Session(denying.port);
  t.teardown(() => two.destroy());
  t.match(await http2Request(two, { ':path': '/ask' }), { status: 302, headers: { location: '/a' }, body: 'no' });
});

t.test('what frames a message is not taken from a denial', async (t) => {
  const framing = ['trailer', 'te', 'upgrade', 'keep-alive', 'proxy-connection', 'http2-settings', 'x-why'];
  const given: Given = {
    authorizer: { protocol: { kind: 'grpc' } },
    check: () => ({
      kind: 'deny',
      status: 403,
      headers: framing.map((name) => ({ name, value: 'x', action: 'overwrite' })),
      body: Buffer.from('no'),
    }),
  };
  const { send } = await serve(t, given);
  t.match(await send('/ask'), { status: 403, body: 'no', headers: { 'x-why': 'x' } });
  const two = await serve(t, { ...given, overHttp2: true });
  const session = http2Session(two.port);
  t.teardown(() => session.destroy());
  t.match(await http2Request(session, { ':path': '/ask' }), { status: 403, body: 'no', headers: { 'x-why': 'x' } });
});
