import { request as httpRequest } from 'node:http';
import t, { type Test } from 'tap';
import { describeProblem } from '../src/config/problem.ts';
import { staticSource } from '../src/config/static-source.ts';
import type { IdentitySource } from '../src/identity/source.ts';
import { createMesh } from '../src/index.ts';
import { makeAuthority } from './support/certificates.ts';
import { strict, testMesh } from './support/mesh-pair.ts';
import { recordingLogger } from './support/recording-logger.ts';

const meshConfig = (spec: string): string => `\n---\n{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {${spec}}}\n`;
const authorities = ['td1', 'td2'].map((trustDomain) => makeAuthority({ trustDomain, intermediate: false }));
/** Everybody has the roots of both trust domains. */
const trustBundles = new Map(authorities.flatMap((each) => [...each.trustBundles]));

function identityOf(trustDomain: string, account: string): IdentitySource {
  const authority = authorities.find((each) => each.trustDomain === trustDomain);
  const credentials = authority?.issue(`spiffe://${trustDomain}/ns/shop/sa/${account}`);
  return { name: 'test', run: async (sink) => void (credentials && sink.update({ ...credentials, trustBundles })) };
}

/** What `web` of td1 gets from `orders` of another trust domain. */
async function exchange(t: Test, spec: string, ordersIn: string, policy = ''): Promise<string> {
  const net = testMesh(t, strict + policy + meshConfig(spec));
  const web = await net.join('web', { identity: identityOf('td1', 'web') });
  const orders = await net.join('orders', { identity: identityOf(ordersIn, 'orders') });
  await net.serve(orders, (_, response) => void response.end('orders'));
  const answer = await web.fetch('http://orders/');
  return answer.ok ? answer.text() : `${answer.status} ${answer.headers.get('x-inmesh-error')}`;
}

t.test('the trust domain of the mesh, and its aliases, are those that servers may be of', async (t) => {
  t.equal(await exchange(t, 'trustDomain: td1', 'td1'), 'orders');
  t.equal(await exchange(t, 'trustDomain: td1', 'td2'), '503 ERR_MESH_PEER_IDENTITY');
  t.equal(await exchange(t, 'trustDomain: td1, trustDomainAliases: [td2]', 'td2'), 'orders');
  t.equal(await exchange(t, 'trustDomain: td2', 'td1'), '503 ERR_MESH_PEER_IDENTITY');
});

t.test('the own roots speak for an alias that has none of its own, in both directions', async (t) => {
  const mesh = makeAuthority({ trustDomain: 'td1' });
  const anotherRoot = makeAuthority({ trustDomain: 'td2' });
  const identity = (spiffeId: string): IdentitySource => ({
    name: 'test',
    run: async (sink) => sink.update({ ...mesh.issue(spiffeId), trustBundles: new Map([['td1', [mesh.rootPem]]]) }),
  });
  const callsOrders = async (spec: string): Promise<string> => {
    const net = testMesh(t, strict + meshConfig(spec));
    const web = await net.join('web', { identity: identity('spiffe://td1/ns/shop/sa/web') });
    // The same authority still gives some processes the name of before: they are of td1 all the same.
    const old = {
      name: 'test',
      run: async (sink) =>
        sink.update({
          ...mesh.issue('spiffe://td2/ns/shop/sa/orders'),
          trustBundles: new Map([
            ['td1', [mesh.rootPem]],
            ['td2', [mesh.rootPem]],
          ]),
        }),
    } satisfies IdentitySource;
    const orders = await net.join('orders', { identity: old });
    await net.serve(orders, (_, response) => void response.end('orders'));
    const answer = await web.fetch('http://orders/');
    return answer.ok ? answer.text() : `${answer.status} ${answer.headers.get('x-inmesh-error')}`;
  };
  t.equal(await callsOrders('trustDomain: td1, trustDomainAliases: [td2]'), 'orders');
  t.equal(await callsOrders('trustDomain: td1'), '503 ERR_MESH_PEER_IDENTITY');
  const pem = JSON.stringify(anotherRoot.rootPem);
  const bound = `trustDomain: td1, trustDomainAliases: [td2], caCertificates: [{pem: ${pem}, trustDomains: [td2]}]`;
  t.equal(await callsOrders(bound), '503 ERR_MESH_PEER_IDENTITY', 'one that has roots of its own is not');
});

t.test('policies mean callers of every alias', async (t) => {
  const policy = `
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {rules: [{from: [{source: {principals: [td2/ns/shop/sa/web]}}]}]}
`;
  t.equal(await exchange(t, 'trustDomain: td1, trustDomainAliases: [td2]', 'td1', policy), 'orders');
  t.match(await exchange(t, 'trustDomain: td1', 'td1', policy), /^403/);
});

t.test('with a trust domain among the settings, certificates of others are refused', async (t) => {
  const mesh = createMesh({
    workload: { name: 'web', namespace: 'shop', trustDomain: 'td3' },
    config: testMesh(t, meshConfig('trustDomain: td1')).folder,
    identity: identityOf('td1', 'web'),
    logger: recordingLogger(),
  });
  t.teardown(() => mesh.close());
  await new Promise<void>((resolve) => void mesh.on('config', () => resolve()));
  await t.rejects(mesh.ready(0), { code: 'ERR_MESH_NOT_READY', message: /expected trust domain td3/ });
});

t.test('hosts that nobody knows: the document decides where no option does, and again when it changes', async (t) => {
  const net = testMesh(t, meshConfig('outboundTrafficPolicy: {mode: REGISTRY_ONLY}'));
  const web = await net.join('web', { identity: false });
  const free = await net.join('free', { identity: false, outboundPolicy: 'ALLOW_ANY' });
  // Nobody listens there: refused by the mesh, or by the system.
  const outcome = (mesh: typeof web): Promise<string | null> =>
    mesh.fetch('http://127.0.0.1:2/').then(
      (answer) => answer.headers.get('x-inmesh-error'),
      () => 'called',
    );
  t.equal(await outcome(web), 'ERR_MESH_HOST_UNKNOWN');
  t.equal(await outcome(free), 'called');
  const changed = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  net.write('policy.yaml', meshConfig('outboundTrafficPolicy: {mode: ALLOW_ANY}'));
  await changed;
  t.equal(await outcome(web), 'called');
});

t.test('hosts that nobody knows: the option goes before a source of the application, too', async (t) => {
  const outcome = async (outboundPolicy?: 'REGISTRY_ONLY'): Promise<string | undefined> => {
    const mesh = createMesh({
      config: staticSource([]),
      identity: false,
      ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
    });
    t.teardown(() => mesh.close());
    await mesh.ready();
    return mesh.inspect().snapshot?.outboundPolicy;
  };
  t.equal(await outcome(), 'ALLOW_ANY');
  t.equal(await outcome('REGISTRY_ONLY'), 'REGISTRY_ONLY');
});

t.test(
  'foreignRoutes: routes of a namespace for the hosts of others are refused where files are read, too',
  async (t) => {
    const route = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mine, namespace: elsewhere}
spec: {hosts: [orders.shop.svc.cluster.local], http: [{route: [{destination: {host: thief.elsewhere.svc.cluster.local}}]}]}
`;
    const net = testMesh(t, route);
    const mesh = createMesh({
      workload: { name: 'web', namespace: 'shop' },
      config: net.folder,
      identity: false,
      foreignRoutes: 'refuse',
      logger: recordingLogger(),
    });
    t.teardown(() => mesh.close());
    const refused = new Promise<string>((resolve) => {
      mesh.on('config-rejected', ({ problems }) => resolve(problems.map(describeProblem).join()));
      mesh.on('config', () => resolve('accepted'));
    });
    t.match(await refused, /VirtualService elsewhere\/mine: spec\.hosts\[0\]: must be a host of its own namespace/);
    const free = await net.join('free', { identity: false });
    t.ok(free.inspect().snapshot, 'by default it is accepted');
  },
);

t.test('pathNormalization is that of inbound requests', async (t) => {
  const of = async (spec: string): Promise<string> => {
    const net = testMesh(t, meshConfig(spec));
    const orders = await net.join('orders', { identity: false });
    const { port } = await orders.listen((request, response) => void response.end(request.url), { host: '127.0.0.1' });
    return new Promise((resolve, reject) => {
      httpRequest({ host: '127.0.0.1', port, path: '/a//b/../c%2Fd', agent: false }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      })
        .on('error', reject)
        .end();
    });
  };
  t.equal(await of(''), '/a//c%2Fd');
  t.equal(await of('pathNormalization: {normalization: NONE}'), '/a//b/../c%2Fd');
  t.equal(await of('pathNormalization: {normalization: MERGE_SLASHES}'), '/a/c%2Fd');
  t.equal(await of('pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}'), '/a/c/d');
});

t.test('CFG-022 foreignRoutes holds for the files that a mesh reads', async (t) => {
  const yaml = (kind: string, namespace: string, spec: string): string =>
    `{apiVersion: networking.istio.io/v1, kind: ${kind}, metadata: {name: a, namespace: ${namespace}}, spec: ${spec}}\n---\n`;
  const host = 'reviews.shop.svc.cluster.local';
  const config = t.testdir({
    'mesh.yaml':
      yaml('ServiceEntry', 'shop', `{hosts: [${host}], resolution: DNS, ports: [{number: 80, name: http}]}`) +
      yaml('VirtualService', 'evil', `{hosts: [${host}], http: [{route: [{destination: {host: ${host}}}]}]}`),
  });
  const rows = [
    [undefined, 'accepted'],
    ['allow', 'accepted'],
    ['refuse', 'must be a host of its own namespace: it belongs to namespace shop'],
  ] as const;
  for (const [foreignRoutes, expected] of rows) {
    const workload = { name: 'web', namespace: 'shop' };
    const given = foreignRoutes === undefined ? {} : { foreignRoutes };
    const mesh = createMesh({ workload, identity: false, config, logger: recordingLogger(), ...given });
    const rejected = new Promise<string>((resolve) => {
      mesh.on('config-rejected', ({ problems }) => resolve(problems.map(({ message }) => message).join()));
    });
    t.equal(await Promise.race([mesh.ready().then(() => 'accepted'), rejected]), expected);
    await mesh.close();
  }
});
