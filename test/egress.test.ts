import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { createMesh, type MeshOptions } from 'inmesh';
import t, { type Test } from 'tap';
import { compileEgress } from '../src/authz/egress.ts';
import { createEgress, type Egress } from '../src/authz/egress-calls.ts';
import { createTallies } from '../src/authz/tallies.ts';
import { compile } from '../src/config/compile.ts';
import { parseYaml } from '../src/config/yaml.ts';
import { causeOf } from '../src/errors.ts';
import { createHostTable } from '../src/route/host-table.ts';
import { normalizePath } from '../src/sanitize/normalize-path.ts';
import { shopWeb } from './support/inbound.ts';

const services = `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: shop}
spec: {hosts: ["*.wild.example"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
`;

const policy = (spec: string, name = 'p', annotations = ''): string => `
apiVersion: inmesh.dev/v1
kind: EgressPolicy
metadata: {name: ${name}, namespace: shop${annotations}}
spec: ${spec}
`;

const compiled = (...policies: readonly string[]) =>
  compile(parseYaml([services, ...policies].join('---')).documents, { workload: shopWeb });

function egressOf(...policies: readonly string[]): Egress {
  const result = compiled(...policies);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { snapshot } = result;
  return createEgress(compileEgress(snapshot.egress ?? [], createTallies()), createHostTable(snapshot), normalizePath);
}

/** `allowed`, or the code of the refusal. */
function asked(egress: Egress, call: string, host?: string): string {
  const [method = '', given = ''] = call.split(' ');
  const [url = '', absolute] = given.split('|');
  const at = url.indexOf('/', url.indexOf('://') + 3);
  try {
    if (method === 'connect') {
      const colon = url.lastIndexOf(':');
      egress.connection(url.slice(0, colon), Number(url.slice(colon + 1)), host);
    } else {
      const headers = host === undefined ? [] : ['host', host];
      egress.request(
        at === -1 ? url : url.slice(0, at),
        method,
        absolute ?? (at === -1 ? '/' : url.slice(at)),
        headers,
      );
    }
    return 'allowed';
  } catch (error) {
    return causeOf(error)?.code ?? String(error);
  }
}

const denied = 'ERR_MESH_EGRESS_DENIED';
const to = (operation: string): string => `{to: [{operation: {${operation}}}]}`;
const allow = (...operations: readonly string[]): string => policy(`{rules: [${operations.map(to).join(', ')}]}`);
const deny = (...operations: readonly string[]): string =>
  policy(`{action: DENY, rules: [${operations.map(to).join(', ')}]}`, 'd');

const cases: readonly (readonly [name: string, policies: readonly string[], calls: Record<string, boolean>])[] = [
  [
    'a host that is allowed, by port, method and path',
    [allow('hosts: [api.example], ports: ["443"], methods: [GET], paths: ["/v1/*"]')],
    {
      'GET https://api.example/v1/a': true,
      'GET https://API.example./v1/a?/../x': true,
      'POST https://api.example/v1/a': false,
      'GET https://api.example:8443/v1/a': false,
      'GET https://api.example/v2/a': false,
      'GET https://other.example/v1/a': false,
    },
  ],
  [
    'a path in doubt is not allowed, and is denied',
    [allow('hosts: [a.example]'), deny('paths: ["/admin*"]')],
    {
      'GET http://a.example/ok': true,
      'GET http://a.example/admin': false,
      'GET http://a.example/x/../admin': false,
      'GET http://a.example/%61dmin': false,
      'GET http://a.example//admin': false,
      'GET http://a.example/ADMIN': false,
      'GET http://a.example/x/%2e%2e/admin?a': false,
      'GET http://a.example/a%00': false,
    },
  ],
  [
    'a target in absolute form is judged by its own host and path, and a method in any letter case',
    [allow('hosts: [a.example, proxy.example]'), deny('paths: ["/admin*"]', 'methods: [DELETE]')],
    {
      'GET http://a.example/ok': true,
      'GET http://a.example|http://a.example/ok': true,
      'GET http://a.example|HTTP://A.example': true,
      'GET http://a.example|http://a.example/admin': false,
      'GET http://a.example|http://evil.example/ok': false,
      'GET http://a.example|https://evil.example?/': false,
      'GET http://a.example|http://a.example\\admin': false,
      'GET http://a.example|http://a.example@evil.example/': false,
      'GET http://proxy.example|http://a.example/ok?u=http://evil.example/': true,
      'GET http://a.example/?u=http://evil.example/admin': true,
      'delete http://a.example/ok': false,
      'get http://a.example/ok': true,
    },
  ],
  [
    'an address in whatever form it is written',
    [deny('hosts: ["169.254.169.254"]')],
    {
      'GET http://169.254.169.254/': false,
      'GET http://2852039166/': false,
      'GET http://[::ffff:169.254.169.254]/': false,
      'GET https://[0:0:0:0:0:ffff:a9fe:a9fe]:8443/': false,
      'connect ::ffff:169.254.169.254:80': false,
      'GET http://[::ffff:169.254.169.253]/': true,
      'GET http://[::1]/': true,
    },
  ],
  [
    'a service by whatever name it is called',
    [deny('hosts: [reviews]')],
    {
      'GET http://[::ffff:10.0.0.1]:9080/': false,
      'GET http://reviews:9080/': false,
      'GET http://reviews.shop:9080/': false,
      'GET http://REVIEWS.shop.svc.cluster.local.:9080/': false,
      'GET http://10.0.0.1:9080/': false,
      'GET http://ratings:9080/': true,
      'connect reviews:9080': false,
      'connect 10.0.0.1:9080': false,
    },
  ],
  [
    'a wildcard host of the registry is judged by the name that is called',
    [allow('hosts: ["*.wild.example"], notHosts: [evil.wild.example]')],
    { 'GET http://a.wild.example/': true, 'GET http://evil.wild.example/': false, 'GET http://b.example/': false },
  ],
  [
    'without rules nothing is allowed',
    [policy('{}')],
    { 'GET http://a.example/': false, 'connect a.example:1': false },
  ],
  ['DENY alone leaves the rest allowed', [deny('hosts: [b.example]')], { 'GET http://a.example/': true }],
  [
    'of connections nobody knows what will be asked: rules with paths allow none and refuse all',
    [
      allow('hosts: [a.example], paths: [/x]', 'hosts: [b.example]', 'hosts: [c.example]'),
      deny('hosts: [c.example], methods: [PUT]'),
    ],
    {
      'connect a.example:443': false,
      'connect b.example:443': true,
      'connect c.example:443': false,
      'GET http://c.example/': true,
      'CONNECT http://b.example': true,
      'CONNECT http://a.example': false,
    },
  ],
];
for (const [name, policies, calls] of cases) {
  t.test(name, async (t) => {
    const egress = egressOf(...policies);
    for (const [call, allowed] of Object.entries(calls))
      t.equal(asked(egress, call), allowed ? 'allowed' : denied, call);
  });
}

t.test('a Host header, or a name for TLS, must be one that may be called, too', async (t) => {
  const egress = egressOf(allow('hosts: [a.example, reviews]'));
  t.equal(asked(egress, 'GET http://a.example/', 'a.example'), 'allowed');
  t.equal(asked(egress, 'GET http://a.example/', 'A.example:80'), 'allowed');
  t.equal(asked(egress, 'GET http://a.example/', 'hidden.example'), denied);
  t.equal(asked(egress, 'GET http://a.example/', '@@'), denied);
  t.equal(asked(egress, 'GET http://reviews:9080/', 'reviews.shop:9080'), 'allowed');
  t.equal(asked(egress, 'connect a.example:443', 'a.example'), 'allowed');
  t.equal(asked(egress, 'connect a.example:443', 'hidden.example'), denied);
});

t.test('who a policy is for; what is only tried out; what is wrong', async (t) => {
  const inForce = (text: string): number => {
    const result = compiled(text);
    return result.ok ? (result.snapshot.egress ?? []).length : -1;
  };
  t.equal(inForce(policy('{}')), 1);
  t.equal(inForce(policy('{selector: {matchLabels: {app: other}}}')), 0);
  t.equal(inForce(policy('{}').replace('namespace: shop', 'namespace: other')), 0);
  t.equal(inForce(policy('{}').replace('namespace: shop', 'namespace: istio-system')), 1);
  const tried = policy('{}', 'p', ', annotations: {istio.io/dry-run: "true"}');
  t.equal(asked(egressOf(tried), 'GET http://a.example/'), 'allowed');
  for (const wrong of [
    policy('{action: DENY}'),
    policy('{action: AUDIT}'),
    policy('{rules: [{}]}'),
    policy('{rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {hosts: [a]}}]}]}'),
    policy('{rules: [{to: [{operation: {}}]}]}'),
  ]) {
    t.equal(inForce(wrong), -1, wrong);
  }
});

async function meshWith(t: Test, spec: string, options: MeshOptions = {}) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    response.end('arrived');
  });
  server.listen(0, '127.0.0.1');
  const tcp = createTcpServer((socket) => socket.end('hi'));
  tcp.listen(0, '127.0.0.1');
  await Promise.all([once(server, 'listening'), once(tcp, 'listening')]);
  const config = t.testdir({ 'mesh.yaml': policy(spec) });
  const mesh = createMesh({ config, identity: false, workload: { name: 'web', namespace: 'shop' }, ...options });
  t.teardown(async () => {
    await mesh.close();
    server.close();
    tcp.close();
  });
  await mesh.ready();
  const portOf = (each: { address(): unknown }): number => (each.address() as AddressInfo).port;
  return { mesh, origin: `http://127.0.0.1:${portOf(server)}`, tcpPort: portOf(tcp), requests: () => requests };
}

t.test('every way to call is refused before anything leaves, and counted', async (t) => {
  const { mesh, origin, requests, tcpPort } = await meshWith(t, '{rules: [{to: [{operation: {paths: [/ok]}}]}]}');
  t.equal(await (await mesh.fetch(`${origin}/ok`)).text(), 'arrived');
  const refused = await mesh.fetch(`${origin}/no`);
  t.equal(refused.status, 403);
  t.equal(refused.headers.get('x-inmesh-error'), denied);
  const answer = await mesh.dispatcher.request({ origin, path: '/no', method: 'GET' });
  t.equal(answer.statusCode, 403);
  await answer.body.dump();
  const byAgent = await new Promise<unknown>((resolve) => {
    get(`${origin}/no`, { agent: mesh.agent }, (response) => resolve(response.resume().statusCode)).on(
      'error',
      resolve,
    );
  });
  t.match(byAgent instanceof Error ? causeOf(byAgent)?.code : byAgent, byAgent instanceof Error ? denied : 403);
  await t.rejects(mesh.connect({ host: '127.0.0.1', port: tcpPort }), { code: denied });
  t.equal(requests(), 1);
  t.match(mesh.stats().egress, [
    { policy: 'none', action: 'ALLOW', result: 'denied', dryRun: false, requests: 4 },
    { policy: 'shop/p', action: 'ALLOW', result: 'allowed', dryRun: false, requests: 1 },
  ]);
});

t.test('errors, where that is wanted', async (t) => {
  const { mesh, origin } = await meshWith(t, '{}', { onFailure: 'throw' });
  await t.rejects(mesh.fetch(origin), {
    cause: { code: denied, message: /GET 127\.0\.0\.1:\d+\/: no EgressPolicy allows it/ },
  });
});

t.test('explain names the policy, for requests and for connections', async (t) => {
  const { mesh } = await meshWith(
    t,
    '{action: DENY, rules: [{to: [{operation: {hosts: [a.example], paths: [/no]}}]}]}',
  );
  const explained = (url: string) => mesh.explain({ url });
  t.match(explained('http://a.example/no'), { decision: 'refused', reason: /EgressPolicy shop\/p .*denies it: 403/ });
  t.match(explained('http://a.example/yes'), { decision: 'passthrough' });
  t.match(mesh.explain({ authority: 'a.example:443', protocol: 'tcp' }), { decision: 'refused' });
  const other = { authority: 'b.example:443', protocol: 'tcp' } as const;
  t.match(mesh.explain(other), { decision: 'passthrough' });
  t.match(mesh.explain({ ...other, sni: 'a.example' }), { decision: 'refused' }, 'another name inside of it');
});

t.test('who is known to the registry outside of the mesh leads nobody into it', async (t) => {
  const entry = (name: string, location: string, port: number, other: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.example]
  location: ${location}
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}, {number: 81, name: http-b, protocol: HTTP, targetPort: ${other}}]
  endpoints: [{address: 127.0.0.1}]
`;
  const visited: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    visited.push(request.url);
    const to = new URLSearchParams(request.url?.split('?')[1]).get('to');
    if (to === null) response.end('arrived');
    else response.writeHead(302, { location: to }).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const yaml = [
    entry('partner', 'MESH_EXTERNAL', port, port),
    entry('broker', 'MESH_EXTERNAL', port, port),
    entry('inner', 'MESH_INTERNAL', port, port),
  ].join('---');
  const config = t.testdir({ 'mesh.yaml': yaml });
  const mesh = createMesh({ config, identity: false, workload: { name: 'web', namespace: 'shop' } });
  t.teardown(async () => {
    await mesh.close();
    server.close();
  });
  await mesh.ready();
  const error = await mesh.fetch('http://partner.example/1?to=http://inner.example/2').catch((e: unknown) => e);
  t.match(error, { cause: { code: 'ERR_MESH_UNSUPPORTED', message: /from outside of the mesh to a service of it/ } });
  t.same(visited, ['/1?to=http://inner.example/2'], 'nothing was sent into the mesh');
  for (const [from, to] of [
    ['partner', 'broker'],
    ['inner', 'partner'],
    ['inner', 'inner'],
  ]) {
    const answer = await mesh.fetch(`http://${from}.example/1?to=http://${to}.example:81/2`);
    t.equal(await answer.text(), 'arrived', `${from} → ${to}`);
  }
});
