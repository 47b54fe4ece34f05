import { once } from 'node:events';
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { type ActiveIdentity, type Credentials, createIdentityStore, type IdentitySource } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../../test/support/certificates.ts';
import { makeCrl } from '../../../test/support/crls.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type ServeSdsOptions, sdsSource, serveSds } from '../src/index.ts';
import type { DataSource } from '../src/secret.ts';
import { ask, askDelta, deltaIn, sdsClient, secretsIn } from './support/sds-client.ts';
import { socketFolder } from './support/socket-folder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hour = 3_600_000;

/** A server with an identity store behind it that a test fills. */
async function begin(t: Test, options: Partial<ServeSdsOptions> = {}) {
  const path = join(socketFolder(t), 'sds.sock');
  const clock = fakeClock();
  const logger = recordingLogger();
  const store = createIdentityStore({ clock, logger });
  const authority = makeAuthority();
  const server = await serveSds({ path, identity: store, logger, clock, ...options });
  t.teardown(() => server.close());
  const issue = (more: Partial<Credentials> = {}): Credentials => {
    const issued = { ...authority.issue(web), ...more };
    store.sink.update(issued);
    return issued;
  };
  return { path, clock, logger, store, authority, server, issue, client: sdsClient(t, path) };
}

async function reachable(path: string): Promise<void> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.destroy();
}

const text = (source: DataSource | undefined): string =>
  source?.kind === 'inline' ? Buffer.from(source.bytes).toString() : '';

t.test('hands out certificate, key and roots inline, and pushes new ones', async (t) => {
  const { authority, client, issue } = await begin(t);
  const first = issue();
  const { next, stream, waiting } = client.stream();
  stream.write(ask(['default', 'ROOTCA']));
  const answer = secretsIn(await next());
  t.same(
    answer.secrets.map(({ name }) => name),
    ['default', 'ROOTCA'],
  );
  t.equal(text(answer.secrets[0]?.certificate?.chain), first.certificateChainPem);
  t.equal(text(answer.secrets[0]?.certificate?.key), first.privateKeyPem);
  t.equal(text(answer.secrets[1]?.roots?.trustedCa), authority.rootPem);
  stream.write(ask(['default', 'ROOTCA'], { versionInfo: answer.versionInfo, responseNonce: answer.nonce }));
  const second = issue();
  const pushed = secretsIn(await next());
  t.equal(text(pushed.secrets[0]?.certificate?.chain), second.certificateChainPem);
  t.not(pushed.versionInfo, answer.versionInfo);
  t.not(pushed.nonce, answer.nonce);
  t.equal(waiting(), 0, 'an acceptance is not answered');
});

t.test('a stream for one secret hears of that one only', async (t) => {
  const { authority, client, issue, store } = await begin(t);
  const first = issue();
  const { next, stream } = client.stream();
  stream.write(ask(['ROOTCA']));
  const answer = secretsIn(await next());
  stream.write(ask(['ROOTCA'], { versionInfo: answer.versionInfo, responseNonce: answer.nonce }));
  issue();
  const extra = makeAuthority().rootPem;
  store.sink.update({ ...first, trustBundles: new Map([['cluster.local', [authority.rootPem, extra]]]) });
  const pushed = secretsIn(await next());
  t.equal(text(pushed.secrets[0]?.roots?.trustedCa), authority.rootPem + extra);
  t.equal(pushed.secrets.length, 1);
});

t.test('revocation lists of the own trust domain go with its roots, and a new one is pushed', async (t) => {
  const { authority, client, issue } = await begin(t);
  const lists = (...revoked: readonly Buffer[]) =>
    new Map([['cluster.local', [makeCrl(authority.root) + makeCrl(authority.signer, { revoked })]]]);
  const [first, second] = [lists(), lists(Buffer.from('41', 'hex'))];
  const issued = issue({ crlsByTrustDomain: first });
  const { next, stream } = client.stream();
  stream.write(ask(['ROOTCA']));
  const answer = secretsIn(await next());
  t.equal(text(answer.secrets[0]?.roots?.crl), first.get('cluster.local')?.[0]);
  stream.write(ask(['ROOTCA'], { versionInfo: answer.versionInfo, responseNonce: answer.nonce }));
  issue({ ...issued, crlsByTrustDomain: second });
  t.equal(text(secretsIn(await next()).secrets[0]?.roots?.crl), second.get('cluster.local')?.[0]);
  const { secrets } = secretsIn(await client.fetch(ask(['ALL'])));
  t.equal(
    text(secrets[0]?.roots?.domains?.get('cluster.local')),
    authority.rootPem + second.get('cluster.local')?.[0],
    'for the SPIFFE validator they stand among the roots',
  );
});

t.test('a client that is slow gets the newest, and what it refused is not sent again', async (t) => {
  const { client, issue, logger } = await begin(t);
  issue();
  const { next, stream, waiting } = client.stream();
  stream.write(ask(['default']));
  const first = secretsIn(await next());
  issue();
  const newest = issue();
  stream.write(ask(['default'], { responseNonce: first.nonce, errorDetail: { code: 13, message: 'no\nthanks' } }));
  const second = secretsIn(await next());
  t.equal(text(second.secrets[0]?.certificate?.chain), newest.certificateChainPem);
  t.match(
    logger.lines.find(({ message }) => message === 'secrets refused by the client'),
    { level: 'warn', fields: { nodeId: 'envoy', code: 13, error: 'no?thanks' } },
  );
  stream.write(ask(['default'], { responseNonce: second.nonce, errorDetail: { code: 3, message: 'no' } }));
  stream.write(ask(['default', 'ROOTCA'], { responseNonce: second.nonce }));
  t.same(secretsIn(await next()).secrets.length, 2, 'another name is answered');
  t.equal(waiting(), 0);
});

t.test('an answer to what is not the last is passed over', async (t) => {
  const { client, issue } = await begin(t);
  issue();
  const { next, stream, waiting } = client.stream();
  stream.write(ask(['default']));
  const first = secretsIn(await next());
  stream.write(ask(['default'], { responseNonce: 'another' }));
  stream.write(ask(['default'], { responseNonce: 'another', errorDetail: { code: 3, message: 'x' } }));
  stream.write(ask(['default'], { responseNonce: first.nonce, versionInfo: first.versionInfo }));
  issue();
  t.not(secretsIn(await next()).nonce, first.nonce);
  t.equal(waiting(), 0);
});

t.test('versions follow the content: another server says the same of the same', async (t) => {
  const [one, other] = [await begin(t), await begin(t)];
  const issued = one.issue();
  other.store.sink.update(issued);
  const version = async ({ client }: typeof one): Promise<string> => {
    const { next, stream } = client.stream();
    stream.write(ask(['default']));
    return secretsIn(await next()).versionInfo;
  };
  const first = await version(one);
  t.match(first, /^[0-9a-f]{16}$/);
  t.equal(await version(other), first);
});

t.test('clients wait for the first identity, and after the last one has expired', async (t) => {
  const { client, clock, issue, store } = await begin(t);
  const { next, stream, waiting } = client.stream();
  stream.write(ask(['default']));
  t.match(await client.fetch(ask(['default'])), { code: status.UNAVAILABLE, details: 'there is no identity yet' });
  t.equal(waiting(), 0);
  issue();
  t.equal(secretsIn(await next()).secrets[0]?.name, 'default');
  clock.jump(2 * hour);
  t.equal(store.current(), undefined);
  const late = client.stream();
  late.stream.write(ask(['default']));
  t.match(await client.fetch(ask(['default'])), { code: status.UNAVAILABLE });
  t.equal(late.waiting(), 0, 'an expired certificate is not handed out');
});

t.test('by the names that SPIRE knows as well', async (t) => {
  const { client, store } = await begin(t);
  const [own, other] = [makeAuthority(), makeAuthority({ trustDomain: 'partner.example' })];
  const issued = own.issue(web);
  store.sink.update({
    ...issued,
    trustBundles: new Map([
      ['partner.example', [other.rootPem]],
      ['cluster.local', [own.rootPem]],
    ]),
  });
  const names = [web, 'ALL', 'ROOTCA', 'spiffe://partner.example', 'spiffe://cluster.local'];
  const { secrets } = secretsIn((await client.fetch(ask(names))) as Buffer);
  t.same(
    secrets.map(({ name }) => name),
    names,
  );
  t.equal(text(secrets[0]?.certificate?.key), issued.privateKeyPem);
  t.same(
    [...(secrets[1]?.roots?.domains ?? [])].map(([domain, roots]) => [domain, text(roots)]),
    [
      ['cluster.local', own.rootPem],
      ['partner.example', other.rootPem],
    ],
  );
  t.equal(text(secrets[2]?.roots?.trustedCa), own.rootPem, 'the roots of others speak for themselves only');
  t.same([...(secrets[3]?.roots?.domains?.keys() ?? [])], ['partner.example']);
  t.same([...(secrets[4]?.roots?.domains?.keys() ?? [])], ['cluster.local']);
});

t.test('a name that is not there ends the stream with the names that are', async (t) => {
  const { client, issue } = await begin(t);
  const early = client.stream();
  early.stream.write(ask(['nothing']));
  t.match(await early.next(), {
    code: status.INVALID_ARGUMENT,
    details: 'there is no secret "nothing"; there are default, ROOTCA, ALL',
  });
  const waits = client.stream();
  waits.stream.write(ask(['spiffe://elsewhere']));
  issue();
  t.match(await waits.next(), {
    code: status.INVALID_ARGUMENT,
    details: /no secret "spiffe:\/\/elsewhere"; there are/,
  });
  t.match(await client.fetch(ask(['nothing'])), { code: status.INVALID_ARGUMENT });
});

t.test('requests that are none end the stream, and nothing else', async (t) => {
  const { client, issue } = await begin(t);
  issue();
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('ffff', 'hex'), /./],
    [
      ask(['default'], { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' }),
      /this server has .*Secret only/,
    ],
    [ask(Array.from({ length: 65 }, (_, i) => `n${i}`)), /more than 64 names/],
  ];
  for (const [bytes, details] of cases) {
    const { next, stream } = client.stream();
    stream.write(bytes);
    t.match(await next(), { code: status.INVALID_ARGUMENT, details });
  }
  const large = client.stream();
  large.stream.write(ask(['x'.repeat(70_000)]));
  t.match(await large.next(), { code: status.RESOURCE_EXHAUSTED });
  t.ok(Buffer.isBuffer(await client.fetch(ask(['default']))));
});

t.test('incremental: each secret has a version of its own, and only what is new is sent', async (t) => {
  const { authority, client, issue, store } = await begin(t);
  const first = issue();
  const { next, stream, waiting } = client.delta();
  stream.write(askDelta({ subscribe: ['default', 'ROOTCA'] }));
  const answer = deltaIn(await next());
  t.same(
    answer.secrets.map(({ name }) => name),
    ['default', 'ROOTCA'],
  );
  t.equal(text(answer.secrets[0]?.secret.certificate?.chain), first.certificateChainPem);
  stream.write(askDelta({ nonce: answer.nonce }));
  const second = issue();
  const pushed = deltaIn(await next());
  t.same(
    pushed.secrets.map(({ name }) => name),
    ['default'],
  );
  stream.write(askDelta({ nonce: pushed.nonce, error: 'no' }));
  stream.write(askDelta({ subscribe: ['ROOTCA'] }));
  const again = deltaIn(await next());
  t.same(
    again.secrets.map(({ name }) => name),
    ['ROOTCA'],
    'asked for again, answered again',
  );
  stream.write(askDelta({ nonce: again.nonce, unsubscribe: ['default'] }));
  issue();
  store.sink.update({
    ...second,
    trustBundles: new Map([['cluster.local', [authority.rootPem, makeAuthority().rootPem]]]),
  });
  t.same(
    deltaIn(await next()).secrets.map(({ name }) => name),
    ['ROOTCA'],
  );
  t.equal(waiting(), 0);

  const returning = client.delta();
  const versions = Object.fromEntries(answer.secrets.map(({ name, version }) => [name, version]));
  issue({ ...first });
  returning.stream.write(askDelta({ subscribe: ['default', 'ROOTCA'], initial: { ...versions, ROOTCA: 'other' } }));
  t.same(
    deltaIn(await returning.next()).secrets.map(({ name }) => name),
    ['ROOTCA'],
    'what a client has already is not sent again',
  );
  const unknown = client.delta();
  unknown.stream.write(askDelta({ subscribe: ['nothing'] }));
  t.match(await unknown.next(), { code: status.INVALID_ARGUMENT });
});

t.test('the socket is for its own user only, or for the group as well, from the first moment on', async (t) => {
  const { path } = await begin(t);
  t.equal(lstatSync(path).mode & 0o777, 0o600);
  t.same(readdirSync(join(path, '..')), ['sds.sock'], 'nothing is left beside it');
  const shared = await begin(t, { mode: 0o660 });
  t.equal(lstatSync(shared.path).mode & 0o777, 0o660);
});

t.test('a stale socket is replaced, one that is served is not', async (t) => {
  const folder = socketFolder(t);
  const path = join(folder, 's');
  const clock = fakeClock();
  const identity = createIdentityStore({ clock, logger: recordingLogger() });
  // A socket that nobody closed: its server went away together with its path of before.
  const stale = createServer().listen(join(folder, 'first'));
  await once(stale, 'listening');
  renameSync(join(folder, 'first'), path);
  stale.close();
  await once(stale, 'close');
  t.ok(existsSync(path));
  const server = await serveSds({ path, identity });
  await reachable(path);
  await t.rejects(serveSds({ path, identity }), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /is served by another process/,
  });
  await reachable(path);
  await server.close();
  await server.close();
  t.same(readdirSync(folder), []);
});

t.test('places where there can be no socket are refused', async (t) => {
  const folder = socketFolder(t);
  const identity = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  writeFileSync(join(folder, 'file'), '');
  mkdirSync(join(folder, 'readonly'));
  const cases: readonly (readonly [Partial<ServeSdsOptions>, RegExp])[] = [
    [{ path: join(folder, 'file') }, /is there already, and no socket/],
    [{ path: join(folder, 'file', 's') }, /cannot be made|ENOTDIR/],
    [{ path: join(folder, 'x'.repeat(120)) }, /too long for a Unix socket/],
    [{ mode: 0o666 }, /mode: expected 0600 or 0660, not 0666/],
    [{ mode: 0o060 }, /mode/],
    [{ names: { roots: 'default' } }, /names: expected three different names/],
    [{ source: { name: 'x', run: async () => {} } }, /exactly one of identity and source/],
  ];
  for (const [options, message] of cases) {
    await t.rejects(serveSds({ path: join(folder, 's'), identity, ...options }), {
      code: 'ERR_MESH_OPTION_INVALID',
      message,
    });
  }
  await t.rejects(serveSds({ path: join(folder, 's') }), /exactly one of identity and source/);
  t.same(readdirSync(folder).sort(), ['file', 'readonly']);
  chmodSync(join(folder, 'readonly'), 0o700);
});

t.test('a socket that another has put in its place stays when the server ends', async (t) => {
  const { path, server } = await begin(t);
  const other = createServer().listen(`${path}.new`);
  await once(other, 'listening');
  renameSync(`${path}.new`, path);
  await server.close();
  t.ok(existsSync(path));
  other.close();
});

t.test('a source behind it runs once, for the server and for a mesh in this process', async (t) => {
  const path = join(socketFolder(t), 's');
  const authority = makeAuthority();
  let runs = 0;
  let tell: { update(credentials: Credentials): void; lost(reason: Error): void } | undefined;
  const source: IdentitySource = {
    name: 'the source',
    run: (sink, signal) => {
      runs++;
      tell = sink;
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    },
  };
  const server = await serveSds({ path, source });
  t.equal(server.source.name, 'the source');
  const heard: string[] = [];
  const sink = {
    update: ({ spiffeId }: Credentials) => void heard.push(spiffeId),
    reject: (problem: Error) => void heard.push(problem.message),
    lost: (reason: Error) => void heard.push(reason.message),
  };
  tell?.update(authority.issue(web));
  tell?.lost(new Error('gone'));
  const stop = new AbortController();
  const mesh = server.source.run(sink, stop.signal);
  t.same(heard, [web, 'gone'], 'from the last thing on');
  tell?.update(authority.issue(web));
  t.same(heard, [web, 'gone', web]);
  stop.abort();
  await mesh;
  tell?.lost(new Error('not heard any more'));
  t.equal(heard.length, 3);
  const { next, stream } = sdsClient(t, path).stream();
  stream.write(ask(['default']));
  t.equal(secretsIn(await next()).secrets.length, 1);
  await server.close();
  t.equal(runs, 1);
  t.notOk(Buffer.isBuffer(await next()), 'the stream has ended');
});

t.test('our source takes from our server, through a rotation, federated roots included', async (t) => {
  const { authority, clock, path, server, store } = await begin(t);
  const other = makeAuthority({ trustDomain: 'partner.example' });
  const trustBundles = new Map([...authority.trustBundles, ['partner.example', [other.rootPem]] as const]);
  const updates: Credentials[] = [];
  const problems: Error[] = [];
  const stop = new AbortController();
  const running = sdsSource({ path, roots: 'ALL', clock }).run(
    {
      update: (one) => void updates.push(one),
      reject: (p) => void problems.push(p),
      lost: (p) => void problems.push(p),
    },
    stop.signal,
  );
  for (let round = 1; round <= 3; round++) {
    store.sink.update({ ...authority.issue(web), trustBundles });
    while (updates.length < round) await new Promise((resolve) => setImmediate(resolve));
    const { certificateChainPem, privateKeyPem } = (store.current() as ActiveIdentity).credentials;
    t.match(updates.at(-1), { certificateChainPem, privateKeyPem, spiffeId: web });
    t.same([...(updates.at(-1)?.trustBundles ?? [])].sort(), [...trustBundles].sort());
  }
  t.same(problems, []);
  const follower: Credentials[] = [];
  const following = server.source.run(
    { update: (one) => void follower.push(one), reject() {}, lost() {} },
    stop.signal,
  );
  store.sink.update({ ...authority.issue(web), trustBundles });
  t.equal(follower.length, 2);
  stop.abort();
  await Promise.all([running, following]);
});

t.test('no key is in what the server says', async (t) => {
  const { client, issue, logger } = await begin(t);
  const { privateKeyPem } = issue();
  const { next, stream } = client.stream();
  stream.write(ask(['default']));
  const { nonce } = secretsIn(await next());
  stream.write(ask(['default'], { responseNonce: nonce, errorDetail: { code: 3, message: 'no' } }));
  stream.write(ask(['nothing'], { responseNonce: nonce }));
  await next();
  const said = JSON.stringify(logger.lines);
  t.match(said, /refused/);
  t.notOk(said.includes(privateKeyPem.split('\n')[1] as string));
  t.notMatch(said, /PRIVATE KEY/);
});
