import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { createExplainer } from '../../src/explain/explainer.ts';
import { describeExplanation } from '../../src/explain/text.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { type RawAnswer, rawExchange, shopWeb, testPipeline } from '../support/inbound.ts';

const service = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.0.0.2, selector: {app: other}, ports: [{name: http, port: 80}]}
`;

const rules = (hosts: string, cors: string, match = '', to = 'web'): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${to}, namespace: shop}
spec:
  hosts: ${hosts}
  http: [{${match}corsPolicy: ${cors}, route: [{destination: {host: ${to}}}]}, {route: [{destination: {host: ${to}}}]}]
`;

const everything = `{allowOrigins: [{exact: https://app.example}, {prefix: "https://dev."}, {regex: "https://r[0-9]+[.]example"}],
    allowMethods: [GET, PUT], allowHeaders: [x-a, x-b], exposeHeaders: [x-c], maxAge: 24h, allowCredentials: true}`;

function snapshotOf(...texts: readonly string[]): Snapshot {
  const { documents, problems } = parseYaml([service, ...texts].join('---'));
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const result = compile(documents, { workload: shopWeb });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.snapshot;
}

const app: RequestListener = ({ headers }, response) => {
  const vary = headers['x-vary'];
  if (vary !== undefined) response.setHeader('vary', vary);
  response.writeHead(200, { 'access-control-allow-origin': '*', 'content-length': 2 });
  response.end('ok');
};

async function serve(t: Test, ...documents: readonly string[]) {
  let handed = 0;
  const snapshot = snapshotOf(...documents);
  const parts = testPipeline(snapshot);
  const explainer = createExplainer({ snapshot, workload: shopWeb });
  const server = createServer((request, response) =>
    parts.pipeline.handle(request, response, () => {
      handed++;
      app(request, response);
    }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  /** Whatever is sent in these tests, an explanation says the same of it. */
  const isExplained = async (
    start: string,
    headers: readonly string[],
    host: string,
    {
      answer,
      cors,
      passed,
    }: { answer: RawAnswer | undefined; cors: Readonly<Record<string, string>>; passed: boolean },
  ): Promise<void> => {
    const [method = '', path = ''] = start.split(' ');
    const pairs = headers.map(
      (each) => [each.slice(0, each.indexOf(':')), each.slice(each.indexOf(':') + 1).trim()] as const,
    );
    const said = await explainer.inbound({ method, path, headers: [['Host', host], ...pairs], tls: 'plaintext' });
    const { cors: { vary, ...set } = {}, decision, direct, requestHeaders, status } = said;
    t.equal(status, answer?.status, `${start}: status`);
    t.equal(decision === 'allow', passed, `${start}: ${decision}`);
    t.equal(requestHeaders !== undefined, passed);
    if (decision !== 'direct' && decision !== 'allow') return;
    const own = passed ? { 'access-control-allow-origin': '*' } : {};
    t.same({ ...own, ...set }, cors, `${start}: headers`);
    t.same(direct, passed ? undefined : { status: 200, body: '' });
    if (!passed) t.match(describeExplanation(said), /^direct 200\n[\s\S]*a CORS preflight/);
    if (vary !== undefined) t.match(answer?.headers['vary'], /origin|\*/i);
  };
  const send = async (start: string, headers: readonly string[] = [], host = 'web.shop.svc.cluster.local:8080') => {
    const text = `${start} HTTP/1.1\r\nHost: ${host}\r\n${headers.map((each) => `${each}\r\n`).join('')}\r\n`;
    const before = handed;
    const answer = (await rawExchange(port, text))[0];
    const cors = Object.entries(answer?.headers ?? {}).filter(([name]) => name.startsWith('access-control-'));
    await isExplained(start, headers, host, { answer, cors: Object.fromEntries(cors), passed: handed > before });
    return { status: answer?.status, cors: Object.fromEntries(cors), vary: answer?.headers['vary'] };
  };
  const sendFor = async (...asked: Parameters<typeof send>) => {
    const { vary: _, ...rest } = await send(...asked);
    return rest;
  };
  return {
    ...parts,
    send: sendFor,
    varied: async (...asked: Parameters<typeof send>) => (await send(...asked)).vary,
    handed: () => handed,
  };
}

const origin = (value: string): string => `Origin: ${value}`;
const preflight = [
  origin('https://app.example'),
  'Access-Control-Request-Method: PUT',
  'Access-Control-Request-Headers: x-a',
];

t.test('a preflight is answered, and the application does not hear of it', async (t) => {
  const { handed, send } = await serve(t, rules('[web]', everything));
  t.same(await send('OPTIONS /', preflight), {
    status: 200,
    cors: {
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'x-c',
      'access-control-allow-methods': 'GET,PUT',
      'access-control-allow-headers': 'x-a,x-b',
      'access-control-max-age': '86400',
    },
  });
  t.equal(handed(), 0);
});

t.test('responses to allowed origins say so, whatever the application says', async (t) => {
  const { handed, send } = await serve(t, rules('[web]', everything));
  const names = ['web', 'web.shop', 'WEB.shop.svc.cluster.local.:9', '10.0.0.1'];
  for (const allowed of ['https://app.example', 'https://dev.x', 'https://r42.example']) {
    for (const host of names) {
      t.match(await send('GET /', [origin(allowed)], host), {
        status: 200,
        cors: { 'access-control-allow-origin': allowed, 'access-control-allow-credentials': 'true' },
      });
    }
  }
  const untouched = { status: 200, cors: { 'access-control-allow-origin': '*' } };
  t.same(await send('GET /', [origin('https://evil.example')]), untouched);
  t.same(await send('GET /', [origin('https://app.example.evil')]), untouched);
  t.same(await send('GET /'), untouched);
  t.same(await send('OPTIONS /', [origin('https://app.example')], 'unknown.example'), untouched, 'another host');
  t.equal(handed(), 16);
});

t.test('caches keep the responses to origins apart', async (t) => {
  const { varied } = await serve(t, rules('[web]', everything));
  t.equal(await varied('GET /', [origin('https://app.example')]), 'origin');
  t.equal(await varied('GET /', [origin('https://evil.example')]), 'origin', 'without leave, too');
  t.equal(await varied('GET /', [origin('https://app.example'), 'x-vary: accept']), 'accept, origin');
  for (const enough of ['Origin', 'accept, ORIGIN', '*'])
    t.equal(await varied('GET /', [origin('https://app.example'), `x-vary: ${enough}`]), enough);
  t.equal(await varied('GET /', [origin('https://app.example')], 'unknown.example'), undefined);
});

t.test('preflights of other origins go on, or are answered without leave', async (t) => {
  const others = [origin('https://evil.example'), ...preflight.slice(1)];
  const forwarding = await serve(t, rules('[web]', everything));
  t.equal((await forwarding.send('OPTIONS /', others)).status, 200);
  t.equal(forwarding.handed(), 1, 'FORWARD, the default');
  const ignoring = await serve(t, rules('[web]', `${everything.slice(0, -1)}, unmatchedPreflights: IGNORE}`));
  t.notOk('access-control-allow-origin' in (await ignoring.send('OPTIONS /', others)).cors);
  t.equal(ignoring.handed(), 0);
});

t.test('the rule that a request takes decides', async (t) => {
  const { send } = await serve(t, rules('[web]', everything, 'match: [{uri: {prefix: /api}}], '));
  t.equal(
    (await send('GET /api/a', [origin('https://app.example')])).cors['access-control-allow-origin'],
    'https://app.example',
  );
  t.equal((await send('GET /apx', [origin('https://app.example')])).cors['access-control-allow-origin'], '*');
});

t.test('rules for services of others are not ours', async (t) => {
  const { send } = await serve(t, rules('[other]', everything, '', 'other'));
  t.same((await send('GET /', [origin('https://app.example')], 'other.shop')).cors, {
    'access-control-allow-origin': '*',
  });
  t.notOk('cors' in snapshotOf(rules('[other]', everything, '', 'other')).inbound);
  t.notOk('cors' in snapshotOf().inbound);
});

t.test('authorization comes first, as in Istio', async (t) => {
  const deny = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/no]}}]}]}
`;
  const { send } = await serve(t, rules('[web]', everything), deny);
  t.same(await send('OPTIONS /no', preflight), { status: 403, cors: {} });
  t.equal((await send('OPTIONS /yes', preflight)).status, 200);
});

t.test('a change of the policy is in the next snapshot', async (t) => {
  const documents = (cors: string) => parseYaml([service, rules('[web]', cors)].join('---')).documents;
  const first = compile(documents(everything), { workload: shopWeb });
  if (!first.ok) throw new Error('invalid');
  const next = compile(documents('{allowOrigins: [{exact: https://new.example}]}'), {
    workload: shopWeb,
    previous: first.snapshot,
  });
  t.match(next.ok && next.snapshot.inbound.cors?.[0]?.virtualHost.routes[0]?.cors?.allowOrigins, [
    { value: 'https://new.example' },
  ]);
  const same = compile(documents(everything), { workload: shopWeb, previous: first.snapshot });
  t.equal(same.ok && same.snapshot.inbound, first.snapshot.inbound, 'nothing is made anew where nothing has changed');
});
