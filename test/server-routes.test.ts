import { once } from 'node:events';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { ActiveFaults } from '../src/fault/active.ts';
import { planFault } from '../src/fault/decide.ts';
import { inboundFaultFilter } from '../src/fault/inbound-filter.ts';
import type { InboundRoutes } from '../src/model/inbound.ts';
import type { Route } from '../src/model/route.ts';
import { currentScope } from '../src/pipeline/scope.ts';
import type { ServerCall } from '../src/pipeline/server-call.ts';
import { domainFinder } from '../src/route/domains.ts';
import { fakeClock } from './support/fake-clock.ts';
import { inboundSnapshot, rawExchange, testPipeline } from './support/inbound.ts';
import { leave } from './support/leave.ts';

t.test(
  'a host is found by its name, then by wildcards at the beginning and at the end, longest first, then by any',
  async (t) => {
    const find = domainFinder(
      ['web', 'web:81', '*.example.com', '*.a.example.com', 'shop.*', 'shop.b*', '*'].map((name) => ({
        domains: [name],
        name,
      })),
    );
    const cases: Readonly<Record<string, string>> = {
      web: 'web',
      WEB: 'web',
      'web:80': 'web',
      'web:81': 'web:81',
      'x.example.com': '*.example.com',
      'x.a.example.com': '*.a.example.com',
      '.example.com': '*',
      'shop.c': 'shop.*',
      'shop.bc': 'shop.b*',
      '[::1]:80': '*',
      '': '*',
    };
    for (const [host, expected] of Object.entries(cases)) t.equal(find(host)?.name, expected, host);
    t.equal(domainFinder([{ domains: ['web'] }])('other'), undefined);
  },
);

const route = (more: Partial<Route>): Route => ({ name: 'r', matches: [], destinations: [], ...more });
const host = (domains: readonly string[], ...routes: readonly Route[]) => ({
  domains,
  virtualHost: { name: domains[0] ?? '', routes },
});

async function serve(t: Test, routes: readonly InboundRoutes[], random: () => number = () => 0.5) {
  const clock = fakeClock();
  const parts = testPipeline(inboundSnapshot({ routes }), { clock, random });
  let handed = 0;
  let leftMs = Number.POSITIVE_INFINITY;
  const server = createServer((request: IncomingMessage, response) =>
    parts.pipeline.handle(request, response, () => {
      handed++;
      leftMs = (currentScope()?.deadline ?? Number.POSITIVE_INFINITY) - clock.now();
      response.end('hello');
    }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ask = async (head: string) => {
    const [answer] = await rawExchange(port, `${head}\r\n\r\n`);
    return answer;
  };
  return { ask, clock, handed: () => handed, leftMs: () => leftMs };
}

const get = (path = '/', more = ''): string => `GET ${path} HTTP/1.1\r\nHost: web${more}`;

t.test('faults of a route are injected before the application sees the request', async (t) => {
  const abort = { level: 'call', abort: { status: 418, percent: 30 } } as const;
  let drawn = 0.1;
  const { ask, handed } = await serve(
    t,
    [
      {
        fault: { level: 'call', abort: { status: 500, percent: 100 } },
        hosts: [
          host(
            ['web'],
            route({ matches: [{ path: { kind: 'prefix', value: '/bad' } }], fault: abort }),
            route({ matches: [{ path: { kind: 'prefix', value: '/good' } }] }),
          ),
        ],
      },
    ],
    () => drawn,
  );
  const aborted = await ask(get('/bad'));
  t.match(aborted, { status: 418 });
  t.match(String(aborted?.body), 'fault filter abort');
  t.equal(handed(), 0);
  const grpc = await ask(get('/bad', '\r\nContent-Type: application/grpc'));
  t.equal(grpc?.status, 200);
  drawn = 0.3;
  t.match(await ask(get('/bad')), { status: 200 });
  t.match(await ask(get('/good')), { status: 200 }, 'a route that says that there is none');
  t.match(await ask(get('/other')), { status: 500 }, 'that of the filter, where no route is for a request');
  t.match(await ask('GET / HTTP/1.1\r\nHost: elsewhere'), { status: 500 });
  t.equal(handed(), 2);
});

t.test('an answer without a body names no length of one', async (t) => {
  for (const status of [204, 304]) {
    const fault = { level: 'call', abort: { status, percent: 100 } } as const;
    const { ask } = await serve(t, [{ hosts: [host(['*'], route({ fault }))] }]);
    const answer = await ask(get());
    t.match(answer, { status, body: '' });
    t.equal(answer?.headers['content-length'], undefined, `${status}`);
  }
});

t.test('a delay holds a request up', async (t) => {
  const fault = { level: 'call', delay: { delayMs: 1_000, percent: 100 } } as const;
  const { ask, clock, handed } = await serve(t, [{ hosts: [host(['*'], route({ fault }))] }]);
  const before = clock.pending();
  const asked = ask(get());
  while (clock.pending() === before) await new Promise((resolve) => setImmediate(resolve));
  await clock.advanceAsync(999);
  t.equal(handed(), 0);
  await clock.advanceAsync(1);
  t.match(await asked, { status: 200 });
  t.equal(handed(), 1);
});

t.test('callers who go away end their fault, also before it began: they do not count for ever', async (t) => {
  const fault = { level: 'call', delay: { delayMs: 1_000, percent: 100 }, maxActive: 1 } as const;
  const plan = planFault(fault);
  const active = new ActiveFaults();
  const clock = fakeClock();
  const filter = inboundFaultFilter({ planFor: () => plan, clock, random: () => 0, active });
  let handed = 0;
  const next = (): Promise<void> => {
    handed++;
    return Promise.resolve();
  };
  const call = (): ServerCall => {
    const request = new IncomingMessage(new Socket());
    return { request, response: new ServerResponse(request), flag: '' } as unknown as ServerCall;
  };
  const leaving = call();
  const held = filter(leaving, next);
  t.equal(active.status.active, 1);
  leave(leaving);
  await held;
  t.equal(handed, 0, 'nobody waits for an answer');
  t.equal(active.status.active, 0);
  const gone = call();
  leave(gone);
  await new Promise((resolve) => setImmediate(resolve));
  const late = filter(gone, next);
  await clock.advanceAsync(1_000);
  await late;
  t.equal(active.status.active, 0);
});

t.test('faults that callers ask for by headers are for those who have proven who they are', async (t) => {
  const { ask } = await serve(t, [{ hosts: [], fault: { level: 'call', byHeaders: { maxPercent: 100 } } }]);
  t.match(await ask(get('/', '\r\nx-envoy-fault-abort-request: 503')), { status: 200 });
});

t.test('CORS of a route answers preflights and marks responses; routes are for some ports only', async (t) => {
  const cors = {
    allowOrigins: [{ kind: 'exact', value: 'https://app.example' }],
    allowMethods: ['GET'],
    allowHeaders: [],
    exposeHeaders: [],
    forwardUnmatchedPreflights: false,
  } as const;
  const routes = (more: Partial<InboundRoutes>): readonly InboundRoutes[] => [
    { hosts: [host(['web'], route({ cors: cors as never }))], ...more },
  ];
  const { ask, handed } = await serve(t, routes({}));
  const origin = '\r\nOrigin: https://app.example';
  const preflight = await ask(`OPTIONS / HTTP/1.1\r\nHost: web${origin}\r\nAccess-Control-Request-Method: GET`);
  t.match(preflight, { status: 200 });
  t.equal(handed(), 0);
  t.match(JSON.stringify(await ask(get('/', origin))), 'access-control-allow-origin');
  t.notMatch(JSON.stringify(await ask(`GET / HTTP/1.1\r\nHost: other${origin}`)), 'access-control-allow-origin');
  const elsewhere = await serve(t, routes({ scope: { ports: [1] } }));
  t.notMatch(JSON.stringify(await elsewhere.ask(get('/', origin))), 'access-control-allow-origin');
});

t.test('the time of a route is that of the handler, unless its caller has less', async (t) => {
  const { ask, leftMs } = await serve(t, [{ hosts: [host(['*'], route({ timeoutMs: 700 }))] }]);
  await ask(get());
  t.equal(leftMs(), 700);
  await ask(get('/', '\r\nx-envoy-expected-rq-timeout-ms: 300'));
  t.equal(leftMs(), 300);
  await ask(get('/', '\r\nx-envoy-expected-rq-timeout-ms: 900'));
  t.equal(leftMs(), 700);
  const none = await serve(t, [{ hosts: [host(['*'], route({ timeoutMs: 0 }))] }]);
  t.match(await none.ask(get()), { status: 504 });
});
