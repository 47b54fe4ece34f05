import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createSecureContext, createServer, type SecureContext } from 'node:tls';
import t from 'tap';
import type { ActiveIdentity } from '../src/identity/store.ts';
import { meshTlsOptions } from '../src/identity/tls-options.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { Cluster, OriginatedTls } from '../src/model/cluster.ts';
import type { TlsParameters } from '../src/model/tls-parameters.ts';
import { changesOriginal, createOutboundTls } from '../src/outbound-tls.ts';
import { makeAuthority } from './support/certificates.ts';
import { shopWeb } from './support/inbound.ts';
import { cluster, endpoint, snapshot } from './support/snapshot.ts';

const credentials = makeAuthority().issue('spiffe://cluster.local/ns/shop/sa/web');
const context = createSecureContext(meshTlsOptions(credentials));
const active = { credentials, generation: 1, clientContext: context } as ActiveIdentity;
const outboundTls = (identity: (() => ActiveIdentity | undefined) | 'none' = () => active) =>
  createOutboundTls({ workload: shopWeb, clock: systemClock, identity });

const meshed = endpoint(80, { speaksMtls: true });
const plain = endpoint(80);
const simple: OriginatedTls = { mode: 'simple', subjectAltNames: [], verify: true };
const clusterWith = (changes: Partial<Cluster>): Cluster => cluster('a.shop', [], changes);

t.test('how a connection speaks', async (t) => {
  const rows = [
    ['auto, to an endpoint that speaks mTLS', { tls: 'auto' }, meshed, 'mutual'],
    ['auto, to one that does not', { tls: 'auto' }, plain, 'plaintext'],
    ['ISTIO_MUTUAL, whatever the endpoint', { tls: 'mutual' }, plain, 'mutual'],
    ['DISABLE, whatever the endpoint', { tls: 'disable' }, meshed, 'plaintext'],
    ['SIMPLE, whatever the endpoint', { tls: simple }, meshed, 'originated'],
  ] as const;
  for (const [what, changes, to, kind] of rows) {
    t.equal(outboundTls().security(clusterWith(changes), to, undefined, 'a').kind, kind, what);
  }
});

t.test('without an identity auto is plaintext, and ISTIO_MUTUAL is nothing', async (t) => {
  t.equal(outboundTls('none').security(clusterWith({ tls: 'auto' }), meshed, undefined, '').kind, 'plaintext');
  for (const identity of ['none', () => undefined] as const) {
    t.throws(() => outboundTls(identity).security(clusterWith({ tls: 'mutual' }), meshed, undefined, ''), {
      code: 'ERR_MESH_NO_IDENTITY',
    });
  }
  t.throws(() => outboundTls(() => undefined).security(clusterWith({ tls: 'auto' }), meshed, undefined, ''), {
    code: 'ERR_MESH_NO_IDENTITY',
  });
});

t.test('the SNI of Istio mutual TLS names the cluster, unless the rule gives one', async (t) => {
  const tls = outboundTls();
  t.match(tls.security(clusterWith({ tls: 'mutual', subset: 'v1' }), meshed, undefined, 'host'), {
    serverName: 'outbound_.80_.v1_.a.shop',
  });
  t.match(tls.security(clusterWith({ tls: 'mutual', serverName: 'east-west' }), meshed, undefined, 'host'), {
    serverName: 'east-west',
  });
});

t.test('TLS of the application is left to it', async (t) => {
  t.same(outboundTls().security(clusterWith({ tls: 'auto' }), meshed, 'called.test', ''), {
    kind: 'tls',
    serverName: 'called.test',
  });
});

t.test('parameters of the cluster narrow what is spoken, with one context for each identity and choice', async (t) => {
  const tls = outboundTls();
  const contextOf = (tlsParameters?: TlsParameters): SecureContext => {
    const security = tls.security(
      clusterWith({ tls: 'mutual', ...(tlsParameters && { tlsParameters }) }),
      meshed,
      undefined,
      '',
    );
    if (security.kind !== 'mutual') throw new Error(security.kind);
    return security.context;
  };
  t.equal(contextOf(), context);
  const newest = contextOf({ minVersion: 'TLSv1.3' });
  t.not(newest, context);
  t.equal(contextOf({ minVersion: 'TLSv1.3' }), newest);
  const server = createServer(
    { ...meshTlsOptions(credentials, { maxVersion: 'TLSv1.2' }), requestCert: true },
    (socket) => socket.on('error', () => {}).end(),
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const spoken = async (secureContext: SecureContext): Promise<string> => {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ host: '127.0.0.1', port, secureContext, checkServerIdentity: () => undefined });
    try {
      await once(socket, 'secureConnect');
      return `${socket.getProtocol()} ${socket.getCipher().name}`;
    } catch {
      return 'nothing';
    } finally {
      socket.destroy();
    }
  };
  t.equal(await spoken(newest), 'nothing');
  const suite = 'ECDHE-ECDSA-AES128-GCM-SHA256';
  t.equal(await spoken(contextOf({ cipherSuites: [suite] })), `TLSv1.2 ${suite}`);
});

t.test('certificates that were read serve as long as the cluster says the same', async (t) => {
  const tls = outboundTls();
  const contextOf = (changes: Partial<OriginatedTls>): unknown => {
    const security = tls.security(clusterWith({ tls: { ...simple, ...changes } }), plain, undefined, 'a');
    return security.kind === 'originated' ? security.context : undefined;
  };
  const first = contextOf({});
  t.equal(contextOf({}), first);
  t.not(contextOf({ serverName: 'b' }), first);
  const narrowed = clusterWith({ tls: simple, tlsParameters: { curves: ['P-256'] } });
  t.not((tls.security(narrowed, plain, undefined, 'a') as { readonly context: unknown }).context, first);
  const before = contextOf({});
  const same = clusterWith({ tls: { ...simple } });
  tls.reconcile(snapshot({}, [same]));
  t.equal(contextOf({}), before, 'a new snapshot that says the same');
  tls.reconcile(snapshot({}, []));
  t.not(contextOf({}), before, 'it was gone meanwhile');
  await tls.close();
});

t.test('the address that was called, with the port that the mesh knows', async (t) => {
  const tls = outboundTls();
  const named = clusterWith({ tls: 'disable', discovery: { kind: 'original' } });
  t.match(tls.originalTarget(named, 'a.test', 80, undefined), { address: 'a.test', port: 80, timeoutMs: 10_000 });
  const moved = clusterWith({ tls: simple, discovery: { kind: 'original', port: 443 } });
  const target = tls.originalTarget(moved, '::1', 80, undefined);
  t.match(target, { address: '::1', port: 443 });
  t.match(target.security(), { kind: 'originated', names: ['::1'] });
  t.match(tls.originalTarget(moved, 'a.test', 80, 'a.test').security(), { kind: 'tls', serverName: 'a.test' });
  t.match(tls.originalTarget(named, 'a.test', 80, undefined).security(), { kind: 'plaintext' });
  const mutual = clusterWith({ tls: 'mutual', discovery: { kind: 'original', port: 443 } });
  t.match(tls.originalTarget(mutual, 'a.test', 80, undefined).security(), { kind: 'mutual' });
  t.throws(() => outboundTls('none').originalTarget(mutual, 'a.test', 80, undefined).security(), {
    code: 'ERR_MESH_NO_IDENTITY',
  });
  const known = clusterWith({ tls: 'auto', discovery: { kind: 'original', speaksMtls: true } });
  t.match(tls.originalTarget(known, 'a.test', 80, undefined).security(), { kind: 'mutual' });
  const off = { ...known, tls: 'disable' as const };
  t.match(tls.originalTarget(off, 'a.test', 80, undefined).security(), { kind: 'plaintext' });
  const proxied = { ...off, proxyProtocol: 2 as const };
  t.equal(tls.originalTarget(proxied, 'a.test', 80, undefined).proxyProtocol, 2);
  t.same([named, moved, mutual, known, off, proxied].map(changesOriginal), [false, true, true, true, false, true]);
});

t.test('a new certificate: connections to original addresses that showed the old one are made anew', async (t) => {
  const tls = outboundTls();
  const mutual = clusterWith({ tls: 'mutual', discovery: { kind: 'original' } });
  const other = cluster('b', [], { tls: simple, discovery: { kind: 'original' } });
  const before = [tls.original(mutual), tls.original(other)];
  tls.recycle();
  t.not(tls.original(mutual), before[0]);
  t.equal(tls.original(other), before[1], 'TLS of another kind has nothing to do with it');
  await tls.close();
});

t.test('connections to original addresses last as long as their cluster', async (t) => {
  const tls = outboundTls();
  const first = clusterWith({ tls: simple, discovery: { kind: 'original' } });
  const connections = tls.original(first);
  t.equal(tls.original(first), connections);
  tls.reconcile(snapshot({}, [first]));
  t.equal(tls.original(first), connections);
  const second = clusterWith({ tls: { ...simple, serverName: 'b' }, discovery: { kind: 'original' } });
  t.not(tls.original(second), connections);
  tls.reconcile(snapshot({}, []));
  t.not(tls.original(first), connections);
  await tls.close();
});

t.test('files that cannot be read are named when a snapshot comes, once each', async (t) => {
  const said: string[] = [];
  const tls = createOutboundTls({
    workload: shopWeb,
    clock: systemClock,
    identity: 'none',
    fileUnreadable: (name, file, { message }) => said.push(`${name} ${file} ${message.split(':')[0]}`),
  });
  const files = (rootFile: string): Cluster =>
    clusterWith({ tls: { ...simple, rootFile, client: { certificateFile: '/none/c', keyFile: process.execPath } } });
  tls.reconcile(snapshot({}, [files('/none/r'), cluster('b', [], { tls: { ...simple, rootFile: '/none/r' } })]));
  t.same(said, ['outbound|80||a.shop /none/r ENOENT', 'outbound|80||a.shop /none/c ENOENT']);
  tls.reconcile(snapshot({}, [files('/none/r'), clusterWith({ tls: 'auto', subset: 'v1' })]));
  t.equal(said.length, 2);
  tls.reconcile(snapshot({}, [files('/none/s')]));
  t.equal(said.at(-1), 'outbound|80||a.shop /none/s ENOENT');
});
