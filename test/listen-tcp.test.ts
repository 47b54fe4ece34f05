import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { compileConnectionAuthorizer } from '../src/authz/connection.ts';
import { createTallies } from '../src/authz/tallies.ts';
import { guardStreams, type TcpConnection } from '../src/inbound-tcp.ts';
import type { Mesh, MeshServer } from '../src/index.ts';
import { parseSpiffeId } from '../src/model/spiffe-id.ts';
import { good } from './config/support.ts';
import { makeAuthority, type TestAuthority } from './support/certificates.ts';
import { recordingLogger } from './support/recording-logger.ts';
import { shopMesh } from './support/shop-mesh.ts';

const policy = (name: string, action: string, rules: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: {action: ${action}, rules: [${rules}]}\n---\n`;
const mode = (value: string): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: ${value}}}\n---\n`;
const fromApi = '{from: [{source: {principals: [cluster.local/ns/shop/sa/api]}}]}';
const id = (account: string): string => `spiffe://cluster.local/ns/shop/sa/${account}`;

/** Greets, then answers every chunk in capitals. */
async function greeter(t: Test, mesh: Mesh): Promise<MeshServer & { readonly connections: readonly TcpConnection[] }> {
  const connections: TcpConnection[] = [];
  const server = await mesh.listenTcp(
    (socket, connection) => {
      connections.push(connection);
      socket.write('hi ');
      socket.on('data', (chunk) => void socket.write(String(chunk).toUpperCase()));
    },
    { port: 0, host: '127.0.0.1' },
  );
  t.teardown(() => mesh.close());
  return Object.assign(server, { connections });
}

/** Everything that comes back until the server closes or has said `until`. */
async function exchange(socket: Socket, until: string, send?: string): Promise<string> {
  let received = '';
  socket.on('error', () => {});
  if (send !== undefined) socket.write(send);
  socket.setEncoding('utf8').on('data', (text: string) => {
    received += text;
    if (received.includes(until)) socket.destroy();
  });
  await once(socket, 'close');
  return received;
}

function secure(port: number, authority: TestAuthority, account: string): Socket {
  const { certificateChainPem: cert, privateKeyPem: key } = authority.issue(id(account));
  return connectTls({
    port,
    host: '127.0.0.1',
    cert,
    key,
    ca: authority.rootPem,
    servername: 'web.shop',
    ALPNProtocols: ['istio'],
    checkServerIdentity: () => undefined,
  });
}

t.test('plaintext: the handler gets the bytes as they are; policies decide about the connection', async (t) => {
  const mesh = await shopMesh({ yaml: policy('local', 'ALLOW', '{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}') });
  const server = await greeter(t, mesh);
  t.equal(await exchange(connect(server.port, '127.0.0.1'), 'BYTES', '\0 not http, bytes'), 'hi \0 NOT HTTP, BYTES');
  t.same(server.connections, [{ peer: undefined, sni: '' }]);
  t.match(mesh.stats().authorization, [{ policy: 'shop/local', result: 'allowed', requests: 1 }]);
});

t.test('inboundConnectionPool: one connection too many is closed, and one that ends makes room', async (t) => {
  const pool = `apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {inboundConnectionPool: {tcp: {maxConnections: 1}}}\n---\n`;
  const server = await greeter(t, await shopMesh({ yaml: pool + mode('DISABLE') }));
  const first = connect(server.port, '127.0.0.1');
  await once(first, 'data');
  t.equal(await exchange(connect(server.port, '127.0.0.1'), 'hi '), '');
  first.destroy();
  let greeted = '';
  while (greeted === '') greeted = await exchange(connect(server.port, '127.0.0.1'), 'hi ');
  t.equal(greeted, 'hi ');
});

t.test('with DISABLE the server may speak first', async (t) => {
  const server = await greeter(t, await shopMesh({ yaml: mode('DISABLE') }));
  t.equal(await exchange(connect(server.port, '127.0.0.1'), 'hi '), 'hi ');
});

t.test('mutual TLS: callers are known by their certificate, others are closed without a word', async (t) => {
  const authority = makeAuthority();
  const mesh = await shopMesh({ yaml: mode('STRICT') + policy('api', 'ALLOW', fromApi), authority });
  const server = await greeter(t, mesh);
  t.equal(await exchange(secure(server.port, authority, 'api'), 'HELLO', 'hello'), 'hi HELLO');
  t.match(server.connections, [{ peer: { spiffeId: id('api') }, sni: 'web.shop' }]);
  t.equal(await exchange(secure(server.port, authority, 'other'), 'HELLO', 'hello'), '');
  t.equal(await exchange(connect(server.port, '127.0.0.1'), 'HELLO', 'hello'), '', 'plaintext is refused by STRICT');
  t.equal(server.connections.length, 1);
  t.match(mesh.stats().authorization, [
    { policy: 'none', result: 'denied', requests: 1 },
    { policy: 'shop/api', result: 'allowed', requests: 1 },
  ]);
});

t.test('a port that carries no requests: an ALLOW rule about paths allows nothing (AUTHZ-047)', async (t) => {
  const mesh = await shopMesh({
    yaml: policy('allow-public', 'ALLOW', '{to: [{operation: {paths: [/public, /public/*]}}]}'),
  });
  const server = await greeter(t, mesh);
  t.equal(await exchange(connect(server.port, '127.0.0.1'), 'GET', 'GET /public HTTP/1.1\r\n\r\n'), '');
  t.same(server.connections, []);
  const { decision, detail, status } = await mesh.explain({
    direction: 'inbound',
    protocol: 'tcp',
    from: { ip: '127.0.0.1' },
  });
  t.same([decision, detail, status], ['deny', 'rbac_access_denied_matched_policy[none]', undefined]);
});

t.test('connections are ended when the server closes, after their time', async (t) => {
  const server = await greeter(t, await shopMesh({ yaml: mode('DISABLE') }));
  const socket = connect(server.port, '127.0.0.1');
  const closed = once(socket.resume(), 'close');
  await once(socket, 'data');
  await server.close(1);
  await closed;
  t.pass('closed');
});

const table: readonly (readonly [what: string, yaml: string, account: string | undefined, allowed: boolean])[] = [
  ['no policy', '', undefined, true],
  ['ALLOW by caller', policy('a', 'ALLOW', fromApi), 'api', true],
  ['ALLOW by another caller', policy('a', 'ALLOW', fromApi), 'web', false],
  ['ALLOW with a method', policy('a', 'ALLOW', '{to: [{operation: {methods: [GET]}}]}'), 'api', false],
  ['ALLOW with a host', policy('a', 'ALLOW', '{to: [{operation: {notHosts: [a]}}]}'), 'api', false],
  ['ALLOW with a token', policy('a', 'ALLOW', '{from: [{source: {requestPrincipals: ["*"]}}]}'), 'api', false],
  ['ALLOW with a header', policy('a', 'ALLOW', '{when: [{key: "request.headers[x]", notValues: [a]}]}'), 'api', false],
  ['ALLOW by one rule of two', policy('a', 'ALLOW', `{to: [{operation: {paths: [/a]}}]}, ${fromApi}`), 'api', true],
  ['ALLOW by server name', policy('a', 'ALLOW', '{when: [{key: connection.sni, values: [web.shop]}]}'), 'api', true],
  [
    'DENY with a path and a port',
    policy('d', 'DENY', '{to: [{operation: {paths: [/a], ports: ["5432"]}}]}'),
    'api',
    false,
  ],
  [
    'DENY with a path and another port',
    policy('d', 'DENY', '{to: [{operation: {paths: [/a], ports: ["80"]}}]}'),
    'api',
    true,
  ],
  ['DENY with a path', policy('d', 'DENY', '{to: [{operation: {paths: [/a]}}]}'), 'api', false],
  [
    'DENY of another caller with a path',
    policy('d', 'DENY', `{from: [{source: {namespaces: [ops]}}], to: [{operation: {paths: [/a]}}]}`),
    'api',
    true,
  ],
  ['AUDIT', policy('u', 'AUDIT', '{}'), 'api', true],
  [
    'intentions',
    'Kind: service-intentions\nName: web\nSources: [{Name: api, Action: allow}, {Name: "*", Action: deny}]',
    'api',
    true,
  ],
  [
    'intentions by path',
    'Kind: service-intentions\nName: web\nSources: [{Name: api, Permissions: [{Action: allow, HTTP: {PathExact: /a}}]}]',
    'api',
    false,
  ],
];
for (const [what, yaml, account, allowed] of table) {
  t.test(`a connection, ${what}: ${allowed ? 'allowed' : 'denied'}`, async (t) => {
    const authorize = compileConnectionAuthorizer(good(yaml).snapshot.inbound.authorization);
    const identity = account === undefined ? undefined : parseSpiffeId(id(account));
    const peer = identity && { spiffeId: identity.uri, ...identity };
    const facts = { peer, localPort: 5432, sourceAddress: '10.0.0.1', destinationAddress: '10.0.0.2', sni: 'web.shop' };
    t.equal(authorize(facts).allowed, allowed);
  });
}

t.test('CUSTOM: nobody can be asked about a connection, so what a rule hits is refused', async (t) => {
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'c' };
  const rules = [{ from: [], to: [{ ports: [5432] }] }];
  const authorize = compileConnectionAuthorizer([{ action: 'CUSTOM', provider: 'opa', rules, provenance }]);
  const facts = { peer: undefined, sourceAddress: undefined, destinationAddress: undefined, sni: '' };
  t.same(
    [authorize({ ...facts, localPort: 5432 }).allowed, authorize({ ...facts, localPort: 80 }).allowed],
    [false, true],
  );
});

t.test('without configuration nobody is let in, and a handler that throws ends its connection', async (t) => {
  const logger = recordingLogger();
  const observer = { audited: () => {}, shadowed: () => {} };
  const ended = (policyOf: Parameters<typeof guardStreams>[1]['policy'], handler: () => void): boolean => {
    let destroyed = false;
    const socket = { localPort: 1, destroy: () => (destroyed = true) } as unknown as Socket;
    guardStreams(handler, { logger, observer, tallies: createTallies(), policy: policyOf })(socket, undefined);
    return destroyed;
  };
  const open = good('').snapshot.inbound;
  t.ok(
    ended(
      () => undefined,
      () => t.fail('handed out'),
    ),
  );
  t.ok(
    ended(
      () => open,
      () => {
        throw new Error('of the handler');
      },
    ),
  );
  t.notOk(
    ended(
      () => open,
      () => {},
    ),
  );
  t.same(logger.messages('error'), ['serving a connection failed; it is closed']);
});

t.test('a handler that rejects ends its connection, not the process', async (t) => {
  const logger = recordingLogger();
  const observer = { audited: () => {}, shadowed: () => {} };
  const { inbound } = good('').snapshot;
  const socket = new EventEmitter();
  Object.assign(socket, { localPort: 1, destroy: () => socket.emit('close') });
  const closed = once(socket, 'close');
  const serve = guardStreams(async () => Promise.reject(new Error('of the handler')), {
    logger,
    observer,
    tallies: createTallies(),
    policy: () => inbound,
  });
  serve(socket as Socket, undefined);
  await closed;
  t.same(logger.messages('error'), ['serving a connection failed; it is closed']);
});

t.test('addresses of connections have no zone; counters go with their policy', async (t) => {
  const tallies = createTallies();
  let yaml = policy('local', 'ALLOW', '{from: [{source: {ipBlocks: ["fe80::/10"]}}]}');
  let { inbound } = good(yaml).snapshot;
  const handed: unknown[] = [];
  const serve = guardStreams((socket) => void handed.push(socket), {
    logger: recordingLogger(),
    observer: { audited: () => {}, shadowed: () => {} },
    tallies,
    policy: () => inbound,
  });
  const socket = { localPort: 1, remoteAddress: 'fe80::1%eth0', destroy: () => {} } as unknown as Socket;
  serve(socket, undefined);
  t.same(handed, [socket]);
  yaml = policy('other', 'ALLOW', '{}');
  ({ inbound } = good(yaml).snapshot);
  serve(socket, undefined);
  t.same(tallies.counts(), [{ policy: 'shop/other', action: 'ALLOW', result: 'allowed', dryRun: false, requests: 1 }]);
});
