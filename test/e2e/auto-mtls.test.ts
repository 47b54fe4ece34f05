// Who is spoken to in mutual TLS, and who is not, as istiod works it out for sidecars.
import { get as httpGet } from 'node:http';
import { connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import type { IdentitySource } from '../../src/identity/source.ts';
import { createMesh, type Mesh, requestContext } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import type { Workload } from '../../src/model/workload.ts';
import { makeAuthority } from '../support/certificates.ts';
import { shopWeb } from '../support/inbound.ts';
import { fixedIdentity } from '../support/mesh-pair.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const authority = makeAuthority();
const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
const isMtls = 'labels: {app: shop, security.istio.io/tlsMode: istio}';

const permissive = '';
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
`;
const disable = strict.replace('STRICT', 'DISABLE');

interface Options {
  readonly identity?: IdentitySource | false;
  readonly name?: string;
}

async function meshOf(t: Test, yaml: string, { identity, name = 'web' }: Options = {}): Promise<Mesh> {
  const workload: Workload = { ...shopWeb, name, serviceAccount: name, labels: { app: name } };
  const mesh = createMesh({
    workload,
    config: staticSource(yaml, { workload }),
    identity: identity ?? fixedIdentity(authority, idOf(name)),
    logger: recordingLogger(),
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await mesh.close();
  });
  await mesh.ready();
  return mesh;
}

/** A workload `shop` that says who called; `calls` are the callers that it saw. */
async function shop(t: Test, yaml = permissive, name = 'shop') {
  const calls: string[] = [];
  const mesh = await meshOf(t, yaml, { name });
  const { port } = await mesh.listen(
    (request, response) => {
      const caller = requestContext(request).peer?.spiffeId ?? 'nobody';
      calls.push(caller);
      response.end(`${caller} called`);
    },
    { host: '127.0.0.1' },
  );
  return { port, calls };
}

/** `shop` in words of Istio. */
const service = (endpoints: readonly string[], more = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [${endpoints.join(', ')}]
  ${more}
---
`;
const at = (port: number, more: string): string => `{address: 127.0.0.1, ports: {http: ${port}}, ${more}}`;
const rule = (policy: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: shop}
spec:
  host: shop.shop.svc.cluster.local
  trafficPolicy: {${policy}}
---
`;
const once = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.shop.svc.cluster.local]
  http: [{retries: {attempts: 0}, route: [{destination: {host: shop.shop.svc.cluster.local}}]}]
---
`;

async function call(mesh: Mesh, url = 'http://shop.shop.svc.cluster.local/'): Promise<string> {
  const response = await mesh.fetch(url);
  const text = await response.text();
  return response.ok ? text : `${response.status} ${response.headers.get('x-inmesh-error')}`;
}

function throughAgent(mesh: Mesh, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    httpGet(url, { agent: mesh.agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

const notes = (mesh: Mesh): string =>
  JSON.stringify(mesh.explain({ direction: 'outbound', url: 'http://shop.shop.svc.cluster.local/' }));

t.test('each endpoint by what is known of it', async (t) => {
  const { port, calls } = await shop(t);
  const rows: readonly (readonly [string, string, string, RegExp])[] = [
    ['the label says so', isMtls, 'mtls', /every endpoint speaks it/],
    ['it has a service account, so it has a certificate', 'serviceAccount: shop', 'mtls', /every endpoint speaks it/],
    [
      'the label says otherwise',
      'serviceAccount: shop, labels: {security.istio.io/tlsMode: disabled}',
      'plain',
      /the label security\.istio\.io\/tlsMode says disabled/,
    ],
    ['nothing says so', 'labels: {app: shop}', 'plain', /nothing says that mTLS is spoken/],
  ];
  for (const [what, endpoint, expected, why] of rows) {
    const mesh = await meshOf(t, service([at(port, endpoint)]));
    const caller = expected === 'mtls' ? idOf('web') : 'nobody';
    t.equal(await call(mesh), `${caller} called`, what);
    t.equal(await throughAgent(mesh, 'http://shop.shop.svc.cluster.local/'), `${caller} called`, `${what}: agent`);
    t.match(notes(mesh), why, `${what}: and explain says why`);
  }
  t.equal(calls.length, 2 * rows.length);
});

t.test('explain knows when there is no identity to speak mTLS with', async (t) => {
  const { port, calls } = await shop(t);
  const without = await meshOf(t, service([at(port, isMtls)]), { identity: false });
  t.equal(await call(without), 'nobody called');
  t.same(calls, ['nobody']);
  const url = 'http://shop.shop.svc.cluster.local/';
  const said = without.explain({ direction: 'outbound', url });
  t.match(said, { tls: { mode: 'DISABLE' } });
  t.match(said.notes.join(), /plaintext, since this process has no identity of its own/);
  const demanded = await meshOf(t, service([at(port, isMtls)]) + rule('tls: {mode: ISTIO_MUTUAL}'), {
    identity: false,
  });
  t.match(await call(demanded), '503 ERR_MESH_NO_IDENTITY');
  const refused = demanded.explain({ direction: 'outbound', url });
  t.match(refused, { tls: { mode: 'ISTIO_MUTUAL' } });
  t.match(refused.notes.join(), /this process has no identity of its own: calls fail/);
});

t.test('two endpoints of one service, one of them outside of the mesh', async (t) => {
  const [inside, outside] = [await shop(t), await shop(t, disable)];
  const endpoints = [at(inside.port, isMtls), at(outside.port, 'labels: {app: shop}')];
  const mesh = await meshOf(t, service(endpoints) + rule('loadBalancer: {simple: ROUND_ROBIN}'));
  for (let i = 0; i < 6; i++) await call(mesh);
  t.same(inside.calls, Array(3).fill(idOf('web')));
  t.same(outside.calls, Array(3).fill('nobody'));
  t.match(notes(mesh), new RegExp(`127\\.0\\.0\\.1:${outside.port} would be spoken to in plaintext`));
});

t.test('a PeerAuthentication of the server that turns mTLS off is heeded, and only where it does', async (t) => {
  const { port } = await shop(t);
  const selecting = (spec: string, labels = 'app: shop'): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: shop, namespace: shop}
spec: {selector: {matchLabels: {${labels}}}, ${spec}}
---
`;
  const rows: readonly (readonly [string, string, 'mtls' | 'plain'])[] = [
    ['for the namespace', disable, 'plain'],
    ['for the workload', selecting('mtls: {mode: DISABLE}'), 'plain'],
    ['for another workload', selecting('mtls: {mode: DISABLE}', 'app: other'), 'mtls'],
    ['for the port', selecting(`mtls: {mode: STRICT}, portLevelMtls: {${port}: {mode: DISABLE}}`), 'plain'],
    ['for another port', selecting('mtls: {mode: STRICT}, portLevelMtls: {9: {mode: DISABLE}}'), 'mtls'],
    ['for the namespace but not the workload', disable + selecting('mtls: {mode: STRICT}'), 'mtls'],
    ['PERMISSIVE', strict.replace('STRICT', 'PERMISSIVE'), 'mtls'],
    ['STRICT', strict, 'mtls'],
  ];
  for (const [what, policy, expected] of rows) {
    const mesh = await meshOf(t, policy + service([at(port, isMtls)]));
    t.equal(await call(mesh), `${expected === 'mtls' ? idOf('web') : 'nobody'} called`, what);
    if (expected === 'plain') t.match(notes(mesh), /a PeerAuthentication turns mTLS off/, what);
  }
});

t.test('explicit modes of a DestinationRule win over all that is known', async (t) => {
  const { port } = await shop(t);
  const known = service([at(port, isMtls)]);
  const unknown = service([at(port, 'labels: {app: shop}')]);
  const rows: readonly (readonly [string, string, string])[] = [
    ['DISABLE', known + rule('tls: {mode: DISABLE}'), 'nobody called'],
    ['ISTIO_MUTUAL', unknown + rule('tls: {mode: ISTIO_MUTUAL}'), `${idOf('web')} called`],
    [
      'ISTIO_MUTUAL, DISABLE of the server',
      disable + known + rule('tls: {mode: ISTIO_MUTUAL}'),
      `${idOf('web')} called`,
    ],
  ];
  for (const [what, yaml, expected] of rows) t.equal(await call(await meshOf(t, yaml)), expected, what);
});

t.test('mTLS that cannot be had is no connection, and never plaintext', async (t) => {
  const deaf = await shop(t, disable);
  const hearing = await shop(t);
  const rows: readonly (readonly [string, string, Options, string])[] = [
    [
      'ISTIO_MUTUAL to a server in plaintext',
      service([at(deaf.port, isMtls)]) + rule('tls: {mode: ISTIO_MUTUAL}'),
      {},
      '',
    ],
    ['an endpoint that does not keep its word', service([at(deaf.port, isMtls)]), {}, ''],
    ['STRICT, and it does not keep its word', strict + service([at(deaf.port, isMtls)]), {}, ''],
    ['another account than that of the service', service([at(hearing.port, 'serviceAccount: other')]), {}, ''],
    [
      'ISTIO_MUTUAL without an identity',
      service([at(hearing.port, isMtls)]) + rule('tls: {mode: ISTIO_MUTUAL}'),
      { identity: false },
      'ERR_MESH_NO_IDENTITY',
    ],
  ];
  for (const [what, yaml, options, code] of rows) {
    t.match(await call(await meshOf(t, once + yaml, options)), new RegExp(`^503 ${code || 'ERR_MESH_'}`), what);
  }
  t.same([...deaf.calls, ...hearing.calls], [], 'nobody was asked anything');
});

t.test('a change from plaintext to mTLS does not go on with connections in plaintext', async (t) => {
  const { port, calls } = await shop(t);
  const workload = shopWeb;
  let say: (yaml: string) => Promise<void> = async () => {};
  const { compile } = await import('../../src/config/compile.ts');
  const { parseYaml } = await import('../../src/config/yaml.ts');
  const mesh = createMesh({
    workload,
    config: {
      name: 'test',
      run: async (sink) => {
        say = async (yaml) => {
          const made = compile(parseYaml(yaml).documents, { workload });
          if (!made.ok) throw new Error(JSON.stringify(made.problems));
          sink.update(made.snapshot, made.report);
        };
        await say(service([at(port, 'labels: {app: shop}')]));
      },
    },
    identity: fixedIdentity(authority, idOf('web')),
    logger: recordingLogger(),
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  const url = 'http://shop.shop.svc.cluster.local/';
  const both = async (): Promise<void> => {
    await call(mesh);
    await throughAgent(mesh, url);
  };
  await both();
  await say(service([at(port, isMtls)]));
  await both();
  await say(service([at(port, 'labels: {app: shop}')]) + rule('tls: {mode: ISTIO_MUTUAL}'));
  await both();
  await say(service([at(port, isMtls)]) + rule('tls: {mode: DISABLE}'));
  await both();
  const seen = ['nobody', idOf('web'), idOf('web'), 'nobody'];
  t.same(
    calls,
    seen.flatMap((caller) => [caller, caller]),
  );
});

t.test('PASSTHROUGH: mTLS to the address that is called, where the service is known to speak it', async (t) => {
  const { port } = await shop(t);
  const entry = (endpoints: readonly string[]): string =>
    service(endpoints)
      .replace('hosts: [shop.shop.svc.cluster.local]', 'hosts: [localhost]')
      .replace('number: 80', `number: ${port}`);
  const through = (tls: string): string =>
    rule(`loadBalancer: {simple: PASSTHROUGH}${tls}`).split('---')[0]?.replace('shop.shop.svc.cluster.local', '"*"') ??
    '';
  const url = `http://localhost:${port}/`;
  const known = [at(9, `serviceAccount: shop, ${isMtls}`)];
  const rows: readonly (readonly [string, string, RegExp])[] = [
    ['all speak it', entry(known) + through(''), /sa\/web called/],
    ['one does not', entry([...known, at(9, 'labels: {app: a}')]) + through(''), /nobody called/],
    ['ISTIO_MUTUAL', entry(known) + through(', tls: {mode: ISTIO_MUTUAL}'), /sa\/web called/],
    ['another account', entry([at(9, 'serviceAccount: other')]) + through(''), /^503 ERR_MESH_PEER_IDENTITY/],
    ['DISABLE', entry(known) + through(', tls: {mode: DISABLE}'), /nobody called/],
  ];
  for (const [what, yaml, expected] of rows) {
    const mesh = await meshOf(t, yaml);
    t.match(await call(mesh, url), expected, what);
    if (expected.source.startsWith('^503')) await t.rejects(throughAgent(mesh, url), what);
    else t.match(await throughAgent(mesh, url), expected, `${what}: agent`);
  }
});

t.test('resolution NONE: ISTIO_MUTUAL to the address that is called, by the names of the ServiceEntry', async (t) => {
  const { port, calls } = await shop(t);
  const none = (names: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: shop}
spec:
  hosts: [localhost]
  location: MESH_INTERNAL
  resolution: NONE
  ports: [{number: ${port}, name: http, protocol: HTTP}]
  subjectAltNames: [${names}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: shop}
spec: {host: "*", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
`;
  const url = `http://localhost:${port}/`;
  t.equal(await call(await meshOf(t, none(idOf('shop'))), url), `${idOf('web')} called`);
  t.equal(await call(await meshOf(t, none(idOf('other'))), url), '503 ERR_MESH_PEER_IDENTITY');
  t.equal(await call(await meshOf(t, none(idOf('shop')), { identity: false }), url), '503 ERR_MESH_NO_IDENTITY');
  t.equal(calls.length, 1);
  const mesh = await meshOf(t, none(idOf('shop')).replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP'));
  const socket: Duplex = await mesh.connect({ host: 'localhost', port });
  t.teardown(() => socket.destroy());
  // Bytes of any protocol: here they happen to be those of HTTP/2.
  const session = connect('http://localhost', { createConnection: () => socket });
  const stream = session.request({ ':path': '/' });
  let text = '';
  for await (const chunk of stream) text += chunk;
  session.close();
  t.equal(text, `${idOf('web')} called`, 'mesh.connect');
});

t.test('an endpoint that begins to speak mTLS, or ends it, is spoken to so from the next call on', async (t) => {
  const { port } = await shop(t);
  const workload: Workload = { ...shopWeb, name: 'web', serviceAccount: 'web', labels: { app: 'web' } };
  let use = (_yaml: string): void => {};
  const mesh = createMesh({
    workload,
    config: {
      name: 'test',
      run: async (sink, signal) => {
        use = (yaml) => void staticSource(yaml, { workload }).run(sink, signal);
        use(service([at(port, 'labels: {app: shop}')]));
      },
    },
    identity: fixedIdentity(authority, idOf('web')),
    logger: recordingLogger(),
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  for (const [endpoint, caller] of [
    ['labels: {app: shop}', 'nobody'],
    [isMtls, idOf('web')],
    ['labels: {app: shop}', 'nobody'],
  ] as const) {
    use(service([at(port, endpoint)]));
    for (let i = 0; i < 3; i++) {
      t.equal(await call(mesh), `${caller} called`, `${endpoint}: fetch`);
      t.equal(
        await throughAgent(mesh, 'http://shop.shop.svc.cluster.local/'),
        `${caller} called`,
        `${endpoint}: agent`,
      );
    }
  }
});

t.test('PASSTHROUGH: a new certificate is shown from the next call on', async (t) => {
  const server = await meshOf(t, permissive, { name: 'shop' });
  const { port } = await server.listen(
    ({ headers }, response) => void response.end(/Hash=\w+/.exec(String(headers['x-forwarded-client-cert']))?.[0]),
    { host: '127.0.0.1' },
  );
  let renew = (): void => {};
  const identity: IdentitySource = {
    name: 'test',
    run: async (sink) => {
      renew = () => sink.update(authority.issue(idOf('web')));
      renew();
    },
  };
  const passthrough = rule('loadBalancer: {simple: PASSTHROUGH}, tls: {mode: ISTIO_MUTUAL}');
  const entry = service([at(9, `serviceAccount: shop, ${isMtls}`)])
    .replace('hosts: [shop.shop.svc.cluster.local]', 'hosts: [localhost]')
    .replace('number: 80', `number: ${port}`);
  const yaml = entry + passthrough.replace('shop.shop.svc.cluster.local', '"*"').replace('---', '');
  const mesh = await meshOf(t, yaml, { identity });
  const url = `http://localhost:${port}/`;
  const seen = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const shown = await call(mesh, url);
    for (const again of [await call(mesh, url), await throughAgent(mesh, url), await throughAgent(mesh, url)]) {
      t.equal(again, shown);
    }
    seen.add(shown);
    renew();
  }
  t.equal(seen.size, 3);
});
