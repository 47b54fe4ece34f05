// The catalogue's attacks on who is called: for every way to call.
import { get as httpGet } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { staticSource } from '../../src/config/static-source.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { peerOfSocket } from '../../src/identity/verify-peer.ts';
import { createMesh, type Mesh, type MeshError } from '../../src/index.ts';
import { holdProcess, systemClock } from '../../src/lib/clock.ts';
import type { Workload } from '../../src/model/workload.ts';
import { makeAuthority, type TestCertificateOptions } from '../support/certificates.ts';
import { shopWeb } from '../support/inbound.ts';
import { fixedIdentity } from '../support/mesh-pair.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const authority = makeAuthority();
const stranger = makeAuthority({ trustDomain: 'evil.example' });
const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
const host = 'shop.shop.svc.cluster.local';

/** What a call came to: the caller that the server saw, or the code of the failure. */
type Call = (mesh: Mesh, more?: object) => Promise<string>;

const calls: Readonly<Record<string, Call>> = {
  async fetch(mesh, more = {}) {
    const response = await mesh.fetch(`http://${host}/`, more);
    const text = await response.text();
    return response.ok ? text : String(response.headers.get('x-inmesh-error'));
  },
  async dispatcher(mesh, more = {}) {
    const { body, headers, statusCode } = await request(`http://${host}/`, { dispatcher: mesh.dispatcher, ...more });
    const text = await body.text();
    return statusCode === 200 ? text : String(headers['x-inmesh-error']);
  },
  agent: (mesh, more = {}) =>
    new Promise((resolve) => {
      httpGet(`http://${host}/`, { agent: mesh.agent, ...more }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve(response.statusCode === 200 ? text : `${response.headers['x-inmesh-error']}`));
      }).on('error', (error: MeshError) => resolve(error.code));
    }),
  async connect(mesh, more = {}) {
    try {
      const socket = await mesh.connect({ host, port: 81, ...more });
      socket.write('GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n');
      let text = '';
      for await (const chunk of socket) text += chunk;
      return text.split('\r\n\r\n')[1] ?? '';
    } catch (error) {
      return (error as MeshError).code;
    }
  },
};

interface Server {
  readonly port: number;
  /** Connections that were made to it. */
  connections(): number;
}

/** A server of the mesh with this certificate, which answers with the caller's name. */
async function serverOf(t: Test, credentials: Credentials): Promise<Server> {
  let connections = 0;
  const bundles = new Map([...authority.trustBundles, ...stranger.trustBundles]);
  const tls = {
    ...meshTlsOptions({ ...credentials, trustBundles: bundles }),
    requestCert: true,
    rejectUnauthorized: true,
  };
  const server = createServer({ ...tls, ALPNCallback: ({ protocols }) => protocols.at(-1) }, (incoming, outgoing) => {
    const text = peerOfSocket(incoming.socket as TLSSocket, authority.trustBundles, systemClock)?.spiffeId ?? 'nobody';
    outgoing.writeHead(200, { 'content-length': text.length }).end(text);
  });
  server.on('connection', () => void connections++);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections: () => connections };
}

/** `dr-mutual` of the catalogue: who must be there is said by the registry, by the rule, or by nobody. */
const yamlOf = (ports: readonly number[], account = 'shop', tls = 'mode: ISTIO_MUTUAL'): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: shop}
spec:
  hosts: [${host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: tcp, protocol: TCP}]
  endpoints:
${ports.map((port) => `  - {address: 127.0.0.1, ports: {http: ${port}, tcp: ${port}}${account === '' ? '' : `, serviceAccount: ${account}`}}`).join('\n')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: shop}
spec: {host: ${host}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, tls: {${tls}}}}
`;

async function meshOf(t: Test, yaml: string, name = 'web'): Promise<Mesh> {
  const workload: Workload = { ...shopWeb, name, serviceAccount: name };
  const mesh = createMesh({
    workload,
    config: staticSource(yaml, { workload }),
    identity: fixedIdentity(authority, idOf(name)),
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

interface Row {
  readonly id: string;
  readonly what: string;
  readonly server: Credentials;
  readonly account?: string;
  readonly tls?: string;
  /** Absent: the call succeeds. */
  readonly code?: string;
}

const issue = (id: string, options: TestCertificateOptions = {}): Credentials => authority.issue(id, options);
const identity = 'ERR_MESH_PEER_IDENTITY';
const named = [{ uri: idOf('other') }, { dns: host }, { dns: 'localhost' }];
const rows: readonly Row[] = [
  { id: 'TLS-023', what: 'another account', server: issue(idOf('other')), code: identity },
  {
    id: 'TLS-023',
    what: 'not among the names of the rule',
    server: issue(idOf('shop')),
    tls: `mode: ISTIO_MUTUAL, subjectAltNames: [${idOf('else')}]`,
    code: identity,
  },
  {
    id: 'TLS-023',
    what: 'a name that begins with the right one',
    server: issue(`${idOf('shop')}2`),
    code: identity,
  },
  {
    id: 'TLS-023',
    what: 'the same account of another namespace',
    server: issue('spiffe://cluster.local/ns/other/sa/shop'),
    code: identity,
  },
  { id: 'TLS-024', what: 'the right account, and no DNS name at all', server: issue(idOf('shop')) },
  {
    id: 'TLS-024',
    what: 'the DNS name of the host does not help another account',
    server: issue(idOf('other'), { sans: named, name: host }),
    code: identity,
  },
  {
    id: 'TLS-024',
    what: 'the common name does not help who has no SPIFFE ID',
    server: { ...issue(idOf('other'), { sans: [{ dns: host }], name: idOf('shop') }) },
    code: identity,
  },
  {
    id: 'TLS-024',
    what: 'a foreign authority',
    server: makeAuthority().issue(idOf('shop')),
    code: 'ERR_MESH_TLS_FAILED',
  },
  {
    id: 'TLS-024',
    what: 'an expired certificate',
    server: issue(idOf('shop'), { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 }),
    code: 'ERR_MESH_TLS_FAILED',
  },
  { id: 'TLS-026', what: 'nobody knows who: any identity of the mesh', server: issue(idOf('any')), account: '' },
  {
    id: 'TLS-026',
    what: 'nobody knows who: an identity of another trust domain is none of the mesh',
    server: stranger.issue('spiffe://evil.example/ns/shop/sa/shop'),
    account: '',
    code: 'ERR_MESH_TLS_FAILED',
  },
  {
    id: 'TLS-026',
    what: 'nobody knows who: a name of another trust domain signed by ours',
    server: issue('spiffe://evil.example/ns/shop/sa/shop'),
    account: '',
    code: identity,
  },
];

for (const [name, call] of Object.entries(calls)) {
  t.test(`who must be there: mesh.${name}`, async (t) => {
    for (const { id, what, server, account, tls, code } of rows) {
      const { port, connections } = await serverOf(t, server);
      const mesh = await meshOf(t, yamlOf([port], account, tls));
      t.equal(await call(mesh), code ?? idOf('web'), `${id} ${what}`);
      // A handshake that failed may succeed the next time; who is somebody else stays so.
      if (code !== 'ERR_MESH_TLS_FAILED') t.equal(connections(), 1, `${id} ${what}: and it is not tried again there`);
    }
  });

  t.test(`TLS-023 the next endpoint is tried, which is who it should be: mesh.${name}`, async (t) => {
    const [bad, good] = [await serverOf(t, issue(idOf('other'))), await serverOf(t, issue(idOf('shop')))];
    const mesh = await meshOf(t, yamlOf([bad.port, good.port]));
    const results = [await call(mesh), await call(mesh), await call(mesh), await call(mesh)];
    // An agent and a connection have one try each.
    const retried = name === 'fetch' || name === 'dispatcher';
    const expected = retried ? [idOf('web')] : [idOf('web'), identity];
    t.same([...new Set(results)].sort().reverse(), expected);
  });

  t.test(`TLS-025 options of the application do not weaken the mesh: mesh.${name}`, async (t) => {
    const { port } = await serverOf(t, issue(idOf('other')));
    const foreign = await serverOf(t, makeAuthority().issue(idOf('shop')));
    const lax = {
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      servername: 'anything',
      ca: [],
      ALPNProtocols: ['h3'],
      minVersion: 'TLSv1',
      ciphers: 'ALL:@SECLEVEL=0',
    };
    const more = { ...lax, tls: undefined, connect: lax, agentOptions: lax };
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    process.removeAllListeners('warning');
    t.teardown(() => {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
    });
    const [other, stranger] =
      name === 'connect'
        ? ['ERR_MESH_OPTION_INVALID', 'ERR_MESH_OPTION_INVALID'] // It says which options it has.
        : [identity, 'ERR_MESH_TLS_FAILED'];
    t.equal(await call(await meshOf(t, yamlOf([port])), more), other);
    t.equal(await call(await meshOf(t, yamlOf([foreign.port])), more), stranger);
  });
}

t.test('TLS-035 two workloads in one process never share a connection', async (t) => {
  const { port, connections } = await serverOf(t, issue(idOf('shop')));
  const meshes = await Promise.all(['one', 'two'].map((name) => meshOf(t, yamlOf([port]), name)));
  for (const [name, call] of Object.entries(calls)) {
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) for (const mesh of meshes) seen.push(await call(mesh));
    t.same(
      seen,
      [1, 2, 3].flatMap(() => [idOf('one'), idOf('two')]),
      name,
    );
  }
  // Two pools of HTTP, two agents, and connections of bytes, which are never shared.
  t.equal(connections(), 2 + 2 + 6);
});
