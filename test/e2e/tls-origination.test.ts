import { get as httpGet } from 'node:http';
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { createAuthorizerCalls } from '../../src/authorizer-calls.ts';
import type { ConfigSink, ConfigSource } from '../../src/config/source.ts';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { shopWeb } from '../support/inbound.ts';
import { testMesh } from '../support/mesh-pair.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { nameAuthority, testFolder, tlsServer } from '../support/tls-server.ts';
import { turns, upstream } from '../support/upstream.ts';

const authority = nameAuthority();

const sourceOf = (yaml: string): ConfigSource => staticSource(yaml, { workload: shopWeb });

/** A configuration that is said little by little; nothing at first. */
function reloadable(): { readonly source: ConfigSource; say(yaml: string): Promise<void> } {
  let sink: ConfigSink | undefined;
  const say = async (yaml: string): Promise<void> => {
    if (sink !== undefined) await sourceOf(yaml).run(sink, new AbortController().signal);
  };
  return {
    say,
    source: {
      name: 'test',
      run: async (given) => {
        sink = given;
        await say('');
      },
    },
  };
}

/** A mesh with this configuration. */
async function meshOf(t: Test, config: string | ConfigSource): Promise<Mesh> {
  const mesh = createMesh({
    workload: shopWeb,
    config: typeof config === 'string' ? sourceOf(config) : config,
    identity: false,
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

interface External {
  readonly hosts?: readonly string[];
  readonly port: number;
  readonly resolution?: 'STATIC' | 'NONE';
  /** Of the ServiceEntry, YAML. */
  readonly more?: string;
}

/** Port 80 of hosts outside, which are TLS servers in truth: Istio's task "Egress TLS Origination". */
const external = ({ hosts = ['edition.test'], port, resolution = 'STATIC', more = '' }: External): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: shop}
spec:
  hosts: [${hosts.map((host) => `"${host}"`).join(', ')}]
  resolution: ${resolution}
  ports:
  - ${resolution === 'NONE' ? `{number: ${port}, name: http, protocol: HTTP}` : `{number: 80, name: http, protocol: HTTP, targetPort: ${port}}`}
  - {number: 443, name: https, protocol: HTTPS${resolution === 'NONE' ? '' : `, targetPort: ${port}`}}
${resolution === 'NONE' ? '' : '  endpoints: [{address: 127.0.0.1}]'}
${more}
---
`;
const rule = (tls: string, port = 80, host = 'edition.test'): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate, namespace: shop}
spec:
  host: "${host}"
  trafficPolicy:
    portLevelSettings: [{port: {number: ${port}}, tls: {${tls}}}]
---
`;

const once = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: once, namespace: shop}
spec:
  hosts: [edition.test]
  http: [{retries: {attempts: 0}, route: [{destination: {host: edition.test, port: {number: 80}}}]}]
---
`;

async function setUp(t: Test, names: readonly string[] = ['edition.test'], options: object = {}) {
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue(...names.map((dns) => ({ dns }))), options);
  return { server, folder, root: folder.write('root.pem', authority.rootPem) };
}

function throughAgent(mesh: Mesh, url: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    httpGet(url, { agent: mesh.agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve(`${response.statusCode} ${text}`));
    }).on('error', reject);
  });
}

t.test('the application calls http:, the connection is TLS', async (t) => {
  const { server, root } = await setUp(t);
  const mesh = await meshOf(t, external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${root}`));
  const reply = await mesh.fetch('http://edition.test/politics');
  t.equal(`${reply.status} ${await reply.text()}`, '200 ok');
  // A connection is used again in the next turn of the event loop.
  await turns(3);
  const { statusCode, body } = await request('http://edition.test/politics', { dispatcher: mesh.dispatcher });
  t.equal(`${statusCode} ${await body.text()}`, '200 ok');
  t.equal(await throughAgent(mesh, 'http://edition.test/politics'), '200 ok');
  t.same(
    server.seen,
    Array.from({ length: 3 }, () => ({
      serverName: 'edition.test',
      alpn: 'http/1.1',
      client: undefined,
      host: 'edition.test',
      url: '/politics',
    })),
  );
  t.equal(server.connections(), 2, 'fetch and dispatcher share a connection, the agent has its own');
});

t.test('an authorizer is verified by its own name, whatever Host the request has that it is asked about', async (t) => {
  const { server, root } = await setUp(t);
  const mesh = await meshOf(t, external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${root}`));
  const calls = createAuthorizerCalls(mesh.dispatcher);
  for (const host of ['web', 'mallory.test', 'edition.test']) {
    const question = { method: 'GET', path: '/', headers: ['host', host], body: undefined };
    const { status } = await calls.http('edition.test:80', question, new AbortController().signal);
    t.equal(status, 200, host);
    await turns(3);
  }
  t.match(server.seen, [{ host: 'web' }, { host: 'mallory.test' }, { host: 'edition.test' }]);
  t.ok(server.seen.every(({ serverName }) => serverName === 'edition.test'));
  t.equal(server.connections(), 1, 'who asks for many hosts causes no connections');
});

t.test(
  'suites and curves are those of tlsDefaults, also when they change; versions are not, as in Istio',
  async (t) => {
    const folder = testFolder(t);
    const root = folder.write('root.pem', authority.rootPem);
    const server = await tlsServer(
      t,
      authority.issue({ dns: 'edition.test' }),
      { maxVersion: 'TLSv1.2', ecdhCurve: 'P-384' },
      (request, response) => response.end((request.socket as TLSSocket).getCipher().name),
    );
    const config = reloadable();
    const say = (defaults: string): Promise<void> =>
      config.say(
        `${external({ port: server.port })}${rule(`mode: SIMPLE, caCertificates: ${root}`)}${once}` +
          `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {tlsDefaults: {${defaults}}}}`,
      );
    const mesh = await meshOf(t, config.source);
    const call = async (): Promise<string> => {
      const reply = await mesh.fetch('http://edition.test/');
      const text = await reply.text();
      return reply.headers.get('x-inmesh-error') ?? text;
    };
    const [first, second] = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'];
    for (const [defaults, expected] of [
      [`cipherSuites: [${first}]`, first],
      [`cipherSuites: [${second}]`, second],
      [`cipherSuites: [${second}], ecdhCurves: [P-256]`, 'ERR_MESH_TLS_FAILED'],
      [`cipherSuites: [${second}], ecdhCurves: [P-256, P-384]`, second],
      [`cipherSuites: [${first}], minProtocolVersion: TLSV1_3`, first],
      ['cipherSuites: [ECDHE-RSA-AES128-SHA]', 'ERR_MESH_TLS_FAILED'],
    ] as const) {
      await say(defaults);
      t.equal(await call(), expected, defaults);
    }
  },
);

t.test('the other port stays what it was: TLS of the application goes through', async (t) => {
  const { server, root } = await setUp(t);
  const mesh = await meshOf(t, external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${root}`));
  const reply = await mesh.fetch('https://edition.test/');
  // The roots of Node do not know the test's authority: it is the application's TLS that fails.
  t.equal(`${reply.status} ${reply.headers.get('x-inmesh-error')}`, '503 ERR_MESH_TLS_FAILED');
});

t.test('TLS of the application cannot run inside of TLS of the mesh', async (t) => {
  const { server, root } = await setUp(t);
  const mesh = await meshOf(t, external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${root}`, 443));
  const reply = await mesh.fetch('https://edition.test/');
  t.equal(`${reply.status} ${reply.headers.get('x-inmesh-error')}`, '501 ERR_MESH_UNSUPPORTED');
  t.match(await reply.text(), /call it with http:/);
});

t.test('a route may lead from the port that is called to one with TLS', async (t) => {
  const { server, root } = await setUp(t);
  const mesh = await meshOf(
    t,
    `${external({ port: server.port })}${rule(`mode: SIMPLE, caCertificates: ${root}`, 443)}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r, namespace: shop}
spec:
  hosts: [edition.test]
  http: [{match: [{port: 80}], route: [{destination: {host: edition.test, port: {number: 443}}}]}]
`,
  );
  const reply = await mesh.fetch('http://edition.test/politics');
  t.equal(`${reply.status} ${await reply.text()}`, '200 ok');
  t.equal(await throughAgent(mesh, 'http://edition.test/politics'), '200 ok');
  t.match(server.seen, [{ serverName: 'edition.test' }, { serverName: 'edition.test' }]);
});

t.test('each host has its own connections, with its own name', async (t) => {
  const { server, root } = await setUp(t, ['a.edition.test', 'b.edition.test']);
  const mesh = await meshOf(
    t,
    external({ port: server.port, hosts: ['*.edition.test'] }) +
      rule(`mode: SIMPLE, caCertificates: ${root}`, 80, '*.edition.test'),
  );
  for (const host of ['a', 'b', 'a', 'b']) {
    const reply = await mesh.fetch(`http://${host}.edition.test/`);
    t.equal(`${reply.status} ${await reply.text()}`, '200 ok');
    t.equal(await throughAgent(mesh, `http://${host}.edition.test/`), '200 ok');
  }
  const pairs = new Set(server.seen.map(({ serverName, host }) => `${serverName} ${host}`));
  t.same([...pairs].sort(), ['a.edition.test a.edition.test', 'b.edition.test b.edition.test']);
  t.equal(server.connections(), 4);
  const other = await mesh.fetch('http://c.edition.test/');
  t.equal(`${other.status} ${other.headers.get('x-inmesh-error')}`, '503 ERR_MESH_PEER_IDENTITY');
});

t.test('a Host header that the application or a route sets is the one that counts', async (t) => {
  const { server, root } = await setUp(t, ['other.test', 'rewritten.test']);
  const yaml = external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${root}`);
  const mesh = await meshOf(t, yaml);
  const reply = await request('http://edition.test/', { dispatcher: mesh.dispatcher, headers: { host: 'other.test' } });
  t.equal(`${reply.statusCode} ${await reply.body.text()}`, '200 ok');
  t.equal(await throughAgent(mesh, 'http://edition.test/', { host: 'other.test' }), '200 ok');
  t.match(server.seen, [
    { serverName: 'other.test', host: 'other.test' },
    { serverName: 'other.test', host: 'other.test' },
  ]);
  const rewriting = await meshOf(
    t,
    `${yaml}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r, namespace: shop}
spec:
  hosts: [edition.test]
  http: [{rewrite: {authority: rewritten.test}, route: [{destination: {host: edition.test, port: {number: 80}}}]}]
`,
  );
  t.equal((await rewriting.fetch('http://edition.test/')).status, 200);
  t.equal(await throughAgent(rewriting, 'http://edition.test/'), '200 ok');
  t.match(server.seen.slice(2), [
    { serverName: 'rewritten.test', host: 'rewritten.test' },
    { serverName: 'rewritten.test', host: 'rewritten.test' },
  ]);
});

t.test('every try has the host, not only the first', async (t) => {
  const folder = testFolder(t);
  let requests = 0;
  const server = await tlsServer(t, authority.issue({ dns: 'edition.test' }), {}, (_, response) => {
    response.writeHead(++requests < 3 ? 503 : 200).end(String(requests));
  });
  const mesh = await meshOf(
    t,
    `${external({ port: server.port })}${rule(`mode: SIMPLE, caCertificates: ${folder.write('root.pem', authority.rootPem)}`)}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r, namespace: shop}
spec:
  hosts: [edition.test]
  http: [{retries: {attempts: 3, retryOn: "503", backoff: 1ms}, route: [{destination: {host: edition.test}}]}]
`,
  );
  t.equal(await (await mesh.fetch('http://edition.test/')).text(), '3');
  t.same(
    server.seen.map(({ host }) => host),
    ['edition.test', 'edition.test', 'edition.test'],
  );
});

t.test('MUTUAL shows the certificate of the files', async (t) => {
  const { server, folder, root } = await setUp(t, ['edition.test'], {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.rootPem,
  });
  const { certificate, key } = authority.issue({ dns: 'client.test' });
  const files = `clientCertificate: ${folder.write('cert.pem', certificate)}, privateKey: ${folder.write('key.pem', key)}`;
  const yaml = external({ port: server.port });
  const mesh = await meshOf(t, yaml + rule(`mode: MUTUAL, caCertificates: ${root}, ${files}`));
  t.equal((await mesh.fetch('http://edition.test/')).status, 200);
  t.match(server.seen, [{ client: 'DNS:client.test' }]);
});

t.test('the names of the ServiceEntry count where the rule has none, and the host without sni', async (t) => {
  const both = await setUp(t, ['real-name.test', 'edition.test']);
  const { server, root } = await setUp(t, ['real-name.test']);
  const entry = (port: number): string => external({ port, more: '  subjectAltNames: [real-name.test]' });
  const ask = async (port: number, tls: string): Promise<string> => {
    const mesh = await meshOf(t, entry(port) + rule(`mode: SIMPLE, ${tls}`));
    const reply = await mesh.fetch('http://edition.test/');
    return reply.headers.get('x-inmesh-error') ?? String(reply.status);
  };
  t.equal(await ask(both.server.port, `caCertificates: ${both.root}`), '200');
  t.equal(await ask(server.port, `caCertificates: ${root}`), 'ERR_MESH_PEER_IDENTITY', 'not of the host');
  t.equal(await ask(server.port, `caCertificates: ${root}, sni: front.test`), '200');
  const another = `caCertificates: ${root}, subjectAltNames: [another.test]`;
  t.equal(await ask(server.port, another), 'ERR_MESH_PEER_IDENTITY');
});

t.test('where TLS cannot be had there is no connection, and never plaintext', async (t) => {
  const { server, folder, root } = await setUp(t);
  const plain = await upstream(t);
  const cases: readonly (readonly [what: string, port: number, tls: string, code: string])[] = [
    ['a server that speaks no TLS', plain.port, `mode: SIMPLE, caCertificates: ${root}`, 'ERR_MESH_TLS_FAILED'],
    ['an unknown authority', server.port, 'mode: SIMPLE', 'ERR_MESH_TLS_FAILED'],
    ['a missing file', server.port, `mode: SIMPLE, caCertificates: ${folder.path}/none.pem`, 'ERR_MESH_TLS_FAILED'],
    ['a secret', server.port, 'mode: SIMPLE, credentialName: a', 'ERR_MESH_TLS_FAILED'],
  ];
  for (const [what, port, tls, code] of cases) {
    const mesh = await meshOf(t, external({ port }) + rule(tls));
    const reply = await mesh.fetch('http://edition.test/');
    t.equal(`${reply.status} ${reply.headers.get('x-inmesh-error')}`, `503 ${code}`, what);
    await t.rejects(throughAgent(mesh, 'http://edition.test/'), { code }, what);
  }
  t.same(plain.seen, []);
  t.same(server.seen, []);
});

t.test('mesh.connect: bytes of any protocol, inside of TLS', async (t) => {
  const { server, root } = await setUp(t);
  const yaml = external({ port: server.port }).replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP');
  const mesh = await meshOf(t, yaml + rule(`mode: SIMPLE, caCertificates: ${root}`));
  const socket = await mesh.connect({ host: 'edition.test', port: 80 });
  t.teardown(() => socket.destroy());
  socket.write('GET /bytes HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  t.match(text, /^HTTP\/1\.1 200 OK/);
  t.match(server.seen, [{ serverName: 'edition.test', alpn: false, url: '/bytes' }]);
});

t.test('a file that is missing is in the log when the configuration comes', async (t) => {
  const log = recordingLogger();
  const yaml = external({ port: 1 }) + rule('mode: SIMPLE, caCertificates: /none/root.pem');
  const mesh = createMesh({
    workload: shopWeb,
    config: staticSource(yaml, { workload: shopWeb }),
    identity: false,
    logger: log,
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  t.same(log.messages('warn'), ['a file of TLS cannot be read: calls answer 503']);
  t.match(log.lines.find(({ level }) => level === 'warn')?.fields, {
    cluster: 'outbound|80||edition.test',
    file: '/none/root.pem',
    error: /ENOENT/,
  });
});

t.test('a host that is called at its own address has TLS too', async (t) => {
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue({ dns: 'localhost' }));
  const root = folder.write('root.pem', authority.rootPem);
  const yaml = external({ port: server.port, hosts: ['localhost'], resolution: 'NONE' });
  const mesh = await meshOf(t, yaml + rule(`mode: SIMPLE, caCertificates: ${root}`, server.port, '*'));
  const url = `http://localhost:${server.port}/a`;
  const reply = await mesh.fetch(url);
  t.equal(`${reply.status} ${await reply.text()}`, '200 ok');
  t.equal(await throughAgent(mesh, url), '200 ok');
  const seen = { serverName: 'localhost', host: `localhost:${server.port}`, url: '/a' };
  t.match(server.seen, [seen, seen]);
  const other = await meshOf(t, yaml + rule('mode: SIMPLE', server.port, '*'));
  t.equal((await other.fetch(url)).headers.get('x-inmesh-error'), 'ERR_MESH_TLS_FAILED');
  await t.rejects(throughAgent(other, url), { code: 'ERR_MESH_TLS_FAILED' });
});

t.test('at the address that was called another port can be meant, with TLS and without', async (t) => {
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue({ dns: 'localhost' }));
  const plain = await upstream(t);
  const root = folder.write('root.pem', authority.rootPem);
  const entry = (targetPort: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: shop}
spec:
  hosts: [localhost]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${targetPort}}]
---
`;
  const encrypting = await meshOf(t, entry(server.port) + rule(`mode: SIMPLE, caCertificates: ${root}`, 80, '*'));
  t.equal((await encrypting.fetch('http://localhost/')).status, 200);
  t.equal(await throughAgent(encrypting, 'http://localhost/'), '200 ok');
  t.match(server.seen, [{ serverName: 'localhost', host: 'localhost' }, { serverName: 'localhost' }]);
  const open = await meshOf(t, entry(plain.port));
  t.equal((await open.fetch('http://localhost/a')).status, 200);
  t.equal(await throughAgent(open, 'http://localhost/b'), '200 ok');
  t.same(plain.seen, ['GET /a', 'GET /b']);
  t.same(
    plain.requests.map(({ headers }) => headers.host),
    ['localhost', 'localhost'],
  );
});

t.test('TLS of the application to another port is its own', async (t) => {
  const { port, seen } = await tlsServer(t, authority.issue({ dns: 'localhost' }));
  const mesh = await meshOf(
    t,
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: shop}
spec:
  hosts: [localhost]
  resolution: NONE
  ports: [{number: 443, name: https, protocol: HTTPS, targetPort: ${port}}]
`,
  );
  const roots = getCACertificates('default');
  t.teardown(() => setDefaultCACertificates(roots));
  setDefaultCACertificates([authority.rootPem]);
  t.equal((await mesh.fetch('https://localhost/')).status, 200);
  t.match(seen, [{ serverName: 'localhost', host: 'localhost' }]);
});

t.test('PASSTHROUGH with TLS is TLS to the address that was called', async (t) => {
  const folder = testFolder(t);
  const server = await tlsServer(t, authority.issue({ dns: 'localhost' }));
  const root = folder.write('root.pem', authority.rootPem);
  const mesh = await meshOf(
    t,
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: shop}
spec:
  hosts: [localhost]
  resolution: STATIC
  ports: [{number: ${server.port}, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.9}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate, namespace: shop}
spec:
  # A name without a dot would be one of the namespace.
  host: "*"
  trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}, tls: {mode: SIMPLE, caCertificates: ${root}}}
`,
  );
  t.equal((await mesh.fetch(`http://localhost:${server.port}/`)).status, 200);
});

t.test('a change of the rule counts for the next call', async (t) => {
  const { server, folder, root } = await setUp(t);
  const mesh = testMesh(t);
  const stranger = folder.write('stranger.pem', nameAuthority().rootPem);
  const write = (file: string): void => {
    const yaml = external({ port: server.port }) + rule(`mode: SIMPLE, caCertificates: ${file}`);
    mesh.write('external.yaml', yaml);
  };
  write(root);
  const web = await mesh.join('web');
  t.equal((await web.fetch('http://edition.test/')).status, 200);
  const changed = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  write(stranger);
  await changed;
  const reply = await web.fetch('http://edition.test/');
  t.equal(reply.headers.get('x-inmesh-error'), 'ERR_MESH_TLS_FAILED');
});

t.test('a Host header that is none is refused, whatever is spoken, and nothing stays counted', async (t) => {
  for (const protocol of ['HTTP', 'HTTP2']) {
    const { server, root } = await setUp(t);
    const yaml = external({ port: server.port }).replace(
      'name: http, protocol: HTTP,',
      `name: http, protocol: ${protocol},`,
    );
    const mesh = await meshOf(t, yaml + rule(`mode: SIMPLE, caCertificates: ${root}`));
    for (const host of ['a b', 'a/b', 'a@edition.test']) {
      const call = request('http://edition.test/', { dispatcher: mesh.dispatcher, headers: { host } });
      await t.rejects(call, { message: 'invalid host header' }, `${protocol} ${host}`);
    }
    t.same(
      mesh.stats().endpoints.map(({ healthy, inFlight }) => ({ healthy, inFlight })),
      [{ healthy: true, inFlight: 0 }],
    );
  }
});
