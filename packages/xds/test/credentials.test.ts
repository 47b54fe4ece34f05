import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerCredentials } from '@grpc/grpc-js';
import type { SourceCredentials } from 'inmesh/config';
import t, { type Test } from 'tap';
import { keyPem, makeAuthority, makeCertificate, makeKey, toPem } from '../../../test/support/certificates.ts';
import type { XdsServer } from '../src/setup/server.ts';
import { type FakeControlPlane, fakeControlPlane } from './support/fake-control-plane.ts';
import { resource, runSource, workload } from './support/running-source.ts';

const folder = mkdtempSync(join(tmpdir(), 'xds-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

const authority = makeAuthority();
const name = 'istiod.istio-system.svc';
const pairFor = (names: readonly string[], signer = authority): { certificate: string; key: string } => {
  const key = makeKey();
  const sans = names.map((dns) => ({ dns }));
  const certificate = makeCertificate(key, { sans, name }, signer.signer);
  return { certificate: toPem(certificate) + signer.intermediatePem, key: keyPem(key) };
};

const serve = (
  t: Test,
  { clients = false, names = [name] }: { readonly clients?: boolean; readonly names?: readonly string[] } = {},
): Promise<FakeControlPlane> => {
  const { certificate, key } = pairFor(names);
  const pair = { cert_chain: Buffer.from(certificate), private_key: Buffer.from(key) };
  return fakeControlPlane(t, {
    credentials: ServerCredentials.createSsl(Buffer.from(authority.rootPem), [pair], clients),
  });
};

const follow = (t: Test, server: XdsServer, credentials?: () => SourceCredentials | undefined) =>
  runSource(t, { server, headers: { 'x-extra': 'yes' } }, undefined, {
    workload,
    credentials: credentials ?? (() => undefined),
  });

t.test('TLS with a root and a token, both read anew for each stream', async (t) => {
  const plane = await serve(t);
  const tokenFile = put('token', 'first.token.x\n');
  const { clock, lost, source, until, updates } = follow(t, {
    address: plane.address,
    tls: { trustRoot: put('root.pem', authority.rootPem), serverName: name },
    tokenFile,
  });
  const first = await plane.accept();
  t.match(first.headers, { authorization: 'Bearer first.token.x', clusterid: 'Kubernetes', 'x-extra': 'yes' });
  first.send('clusters', { resources: [resource('clusters', 'a')] });
  first.send('listeners', {});
  await until('a snapshot', () => updates.length === 1);
  put('token', 'second.token.x');
  await clock.advanceAsync(5_000);
  first.end();
  t.match((await plane.accept()).headers, { authorization: 'Bearer second.token.x' });
  t.same(lost, []);
  t.match(source.status().servers, [{ streams: 2 }]);
});

t.test('who does not prove to be the control plane gets no token, and the reason has none', async (t) => {
  const tokenFile = put('secret', 'very.secret.token');
  const stranger = makeAuthority();
  const tls = { trustRoot: authority.rootPem, serverName: name };
  const cases: readonly (readonly [string, Partial<XdsServer>, RegExp, (readonly string[])?])[] = [
    ['another name', { tls: { ...tls, serverName: 'other.test' } }, /other\.test/],
    ['another root', { tls: { ...tls, trustRoot: stranger.rootPem } }, /UNAVAILABLE/],
    ['no name at all', { tls }, /has no DNS name, expected istiod/, []],
    ['no root', { tls: { ...tls, trustRoot: join(folder, 'none') } }, /the root cannot be read: ENOENT/],
    ['a root that is none', { tls: { ...tls, trustRoot: put('bad.pem', 'x') } }, /root of the control plane/],
    ['no token', { tls, tokenFile: join(folder, 'none') }, /the token cannot be read: ENOENT/],
    [
      'a token that is none',
      { tls, tokenFile: put('two', 'a secret.token') },
      /the token cannot be used: .*two holds no token/,
    ],
    ['a file that is too large', { tls, tokenFile: put('large', 'x'.repeat(1_048_577)) }, /larger than 1048576 bytes/],
    [
      'no key',
      { tls: { ...tls, certificateFile: put('c.pem', 'x'), keyFile: join(folder, 'none') } },
      /the key cannot be read: ENOENT/,
    ],
  ];
  for (const [what, server, reason, names] of cases) {
    await t.test(what, async (t) => {
      const plane = await serve(t, names === undefined ? {} : { names });
      const { lost, stop, until } = follow(t, { address: plane.address, tokenFile, ...server });
      await until('the reason', () => lost.length === 1);
      t.match(lost[0]?.message, reason);
      t.notMatch(lost[0]?.message, /secret\.token/);
      t.equal(plane.streams.length, 0, 'nobody was asked');
      await stop();
    });
  }
});

t.test('mutual TLS, by files or by the identity of the mesh, for which it waits', async (t) => {
  const plane = await serve(t, { clients: true });
  const own = pairFor(['client.test']);
  const tls = { trustRoot: authority.rootPem, serverName: name };
  const byFile = follow(t, {
    address: plane.address,
    tls: { ...tls, certificateFile: put('own.pem', own.certificate), keyFile: put('own.key', own.key) },
  });
  await plane.accept();
  await byFile.stop();
  let held: SourceCredentials | undefined;
  const byIdentity = follow(t, { address: plane.address, tls: { serverName: name, identity: true } }, () => held);
  await byIdentity.clock.advanceAsync(500);
  t.same([plane.streams.length, byIdentity.lost.length], [1, 0], 'not before there is a certificate, and no alarm');
  held = {
    spiffeId: 'spiffe://cluster.local/ns/shop/sa/web',
    certificateChainPem: own.certificate,
    privateKeyPem: own.key,
    trustBundles: new Map([['cluster.local', [authority.rootPem]]]),
  };
  const accepted = plane.accept();
  await byIdentity.clock.advanceAsync(200);
  await accepted;
  await byIdentity.stop();
  const never = follow(t, { address: plane.address, tls: { serverName: name, identity: true } });
  await never.clock.advanceAsync(10_100);
  await never.until('the reason', () => never.lost.length === 1);
  t.match(never.lost[0]?.message, /no certificate yet to show/);
  const without = follow(t, { address: plane.address, tls });
  await without.until('the reason', () => without.lost.length === 1);
  t.match(without.lost[0]?.message, /UNAVAILABLE/);
});
