import { join } from 'node:path';
import { caSource, createCsr, createIdentityStore, silentLogger, systemClock } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { keyPem, makeKey } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { type Authority, createAuthority, initAuthority, openAuthority, serveAuthority } from '../src/index.ts';
import { call } from './support/call.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

async function serve(t: Test, clock: FakeClock, authority: Authority = createAuthority({ clock })) {
  const { url, close } = await serveAuthority(authority, { clock });
  t.teardown(close);
  const ca = authority.rootPem;
  const key = makeKey();
  const member = { cert: authority.signCsr(createCsr(web, key), web).certificateChainPem, key: keyPem(key) };
  const ask = (headers: Record<string, string> = {}, who: object = member) =>
    call(url, { path: '/v1/bundle', ca, headers, ...who });
  const { headers } = await ask();
  return { authority, url, ask, ca, close, tag: String(headers.etag) };
}

/** As soon as the server holds this many requests: each has timers. */
async function holding(clock: FakeClock, more: number, before: number): Promise<void> {
  while (clock.pending() < before + more) await new Promise((resolve) => setImmediate(resolve));
}

t.test('a request that wants to wait is answered when the bundle changes', async (t) => {
  const clock = fakeClock();
  const { authority, ask, tag } = await serve(t, clock);
  t.match(tag, /^"[0-9a-f]{32}"$/);
  const before = clock.pending();
  const waiting = ask({ prefer: 'wait=25', 'if-none-match': tag });
  await holding(clock, 1, before);
  authority.rotation.prepare();
  const reply = await waiting;
  t.match(reply, { status: 200, headers: { 'preference-applied': 'wait=25' } });
  t.not(reply.headers.etag, tag);
  t.same(reply.json['trustBundles'], Object.fromEntries(authority.trustBundles));
  // A little later than the answer: when the server knows that it was taken.
  while (clock.pending() > before) await new Promise((resolve) => setImmediate(resolve));
  t.pass('and its timers are gone');
});

t.test('a request that has waited long enough hears that nothing has changed', async (t) => {
  const clock = fakeClock();
  const { ask, tag } = await serve(t, clock);
  const before = clock.pending();
  const waiting = ask({ prefer: 'respond-async, wait=3600', 'if-none-match': tag });
  await holding(clock, 1, before);
  clock.advance(55_000);
  t.match(await waiting, { status: 304, headers: { etag: tag, 'preference-applied': 'wait=55' } });
});

t.test('whoever does not want to wait, or has another bundle, is answered at once', async (t) => {
  const clock = fakeClock();
  const { ask, tag } = await serve(t, clock);
  t.match(await ask({ 'if-none-match': tag }), { status: 304 });
  for (const headers of [
    { prefer: 'wait=25' },
    { prefer: 'wait=25', 'if-none-match': '"another"' },
    { prefer: 'wait=0', 'if-none-match': '"another"' },
    { prefer: 'wait=-1' },
    { prefer: `${'x'.repeat(8_000)},wait=5` },
  ]) {
    t.match(await ask(headers), { status: 200, headers: { etag: tag } }, JSON.stringify(headers).slice(0, 80));
  }
});

t.test('a stranger is answered at once: only members may keep requests here', async (t) => {
  const { ask, tag } = await serve(t, fakeClock());
  const reply = await ask({ prefer: 'wait=25', 'if-none-match': tag }, {});
  t.equal(reply.status, 304);
  t.equal(reply.headers['preference-applied'], undefined);
});

t.test('closing answers those who wait', async (t) => {
  const clock = fakeClock();
  const { ask, tag, close } = await serve(t, clock);
  const before = clock.pending();
  const waiting = ask({ prefer: 'wait=25', 'if-none-match': tag });
  await holding(clock, 1, before);
  await close();
  t.match(await waiting, { status: 304 });
  t.equal(clock.pending(), 0);
});

t.test(
  'what another process did to the folder is handed out a second later, under a certificate of the new root',
  async (t) => {
    const clock = fakeClock();
    const dir = join(t.testdir(), 'ca');
    const { authority, url, ask, tag } = await serve(t, clock, initAuthority(dir, { clock }));
    const before = clock.pending();
    const waiting = ask({ prefer: 'wait=25', 'if-none-match': tag });
    await holding(clock, 1, before);
    const command = openAuthority(dir, { clock });
    command.rotation.prepare();
    command.rotation.activate();
    command.rotation.finish({ force: true });
    clock.advance(1_000);
    t.equal((await waiting).status, 200);
    t.equal(
      (await call(url, { path: '/healthz', ca: command.rootPem })).status,
      200,
      'the server has a new certificate',
    );
    await t.rejects(ask(), 'the old root proves nothing any more');
    t.equal(authority.rootPem, command.rootPem);
  },
);

t.test('hands out revocation lists, as PEM for everybody and with the bundle while something is on them', async (t) => {
  const clock = fakeClock();
  const { authority, url, ca, ask } = await serve(t, clock);
  const crl = async () => call(url, { path: '/v1/crl', ca, text: true });
  const first = await crl();
  t.equal(first.headers['content-type'], 'application/x-pem-file');
  t.equal(first.text.match(/BEGIN X509 CRL/g)?.length, 2, 'of the root and of the intermediate');
  t.equal((await ask()).json['crls'], undefined);
  const { serial } = authority.signCsr(createCsr(web, makeKey()), web);
  authority.revoke({ serial });
  const { crls } = (await ask()).json as { crls: Record<string, readonly string[]> };
  t.same(crls, { 'cluster.local': authority.crls() });
  clock.advance(2 * 3_600_000);
  t.same(authority.bundle().crls, [], 'what has expired need not be revoked');
});

t.test('a revoked certificate, or identity, cannot be renewed', async (t) => {
  const clock = fakeClock();
  const { authority, url, ca } = await serve(t, clock);
  const renew = async (id: string) => {
    const key = makeKey();
    const issued = authority.signCsr(createCsr(id, key), id);
    const again = () =>
      call(url, {
        method: 'POST',
        path: '/v1/certificates',
        body: JSON.stringify({ csr: createCsr(id, makeKey()) }),
        ca,
        cert: issued.certificateChainPem,
        key: keyPem(key),
      });
    return { issued, again };
  };
  const one = await renew(web);
  const other = await renew(web);
  t.equal((await one.again()).status, 200);
  authority.revoke({ serial: one.issued.serial });
  t.match(await one.again(), {
    status: 403,
    json: { error: 'revoked', message: /with serial number [0-9a-f]{32} was/ },
  });
  t.equal((await other.again()).status, 200, 'one certificate, not the identity');
  authority.revoke({ spiffeId: web });
  t.match(await other.again(), { status: 403, json: { error: 'revoked' } });
  authority.reinstate(web);
  t.match(await other.again(), { status: 403, json: { error: 'revoked' } }, 'its old certificates stay revoked');
  t.equal((await (await renew(web)).again()).status, 200);
});

t.test('a source of the core hears of a new root and of its end, within the life of its certificate', async (t) => {
  const authority = createAuthority();
  const { url, close } = await serveAuthority(authority);
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  const abort = new AbortController();
  const { token } = authority.createToken({ spiffeId: web, uses: 2 });
  const running = caSource({ url, trustRoot: authority.rootPem, spiffeId: web, token }).run(store.sink, abort.signal);
  const until = (wanted: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const unsubscribe = store.subscribe(() => {
        if (!wanted()) return;
        unsubscribe();
        resolve();
      });
      if (wanted()) resolve();
    });
  const roots = () => store.current()?.credentials.trustBundles.get('cluster.local') ?? [];
  await until(() => roots().length === 1);
  const first = store.current()?.credentials.certificateChainPem;
  authority.rotation.prepare();
  await until(() => roots().length === 2);
  t.equal(store.current()?.credentials.certificateChainPem, first, 'with the certificate that it has');
  authority.rotation.activate();
  authority.rotation.finish({ force: true });
  await until(() => roots().length === 1);
  await until(() => store.current()?.credentials.certificateChainPem !== first);
  t.same(roots(), [authority.rootPem]);
  t.pass('its certificate was of the old root, so it asked for another at once, with its token');
  abort.abort();
  await running;
  store.close();
  await close();
});
