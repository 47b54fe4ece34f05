import { X509Certificate } from 'node:crypto';
import { createCsr } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { derSequence, derTrue } from '../../../src/identity/der-write.ts';
import { keyPem, makeAuthority, makeKey, testExtension } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Authority, createAuthority, type ServeOptions, serveAuthority } from '../src/index.ts';
import { csrOf, csrPem, extensionAttribute } from './support/csr-builder.ts';
import { callIstio, callRaw, type IstioCall, istioRequest } from './support/istio-client.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';
const minute = 60_000;

interface Started {
  readonly authority: Authority;
  readonly port: number;
  readonly clock: FakeClock;
  readonly logger: ReturnType<typeof recordingLogger>;
  ask(call: Partial<IstioCall>): ReturnType<typeof callIstio>;
  token(uses?: number): string;
}

async function start(t: Test, options: ServeOptions = {}): Promise<Started> {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const { port, close } = await serveAuthority(authority, { clock, logger, ...options });
  t.teardown(close);
  return {
    authority,
    port,
    clock,
    logger,
    ask: (call) => callIstio(port, { csr: createCsr(web, makeKey()), ca: authority.rootPem, ...call }),
    token: (uses = 1) => authority.createToken({ spiffeId: web, uses }).token,
  };
}

/** Whole minutes, with the two that a certificate is back-dated by. */
const minutesOf = (pem: string | undefined): number => {
  const { validFromDate, validToDate } = new X509Certificate(pem ?? '');
  return Math.floor((validToDate.getTime() - validFromDate.getTime()) / minute);
};

t.test('the chain has one certificate for each element, the leaf first and its root last', async (t) => {
  const { ask, authority, token } = await start(t);
  const key = makeKey();
  const { chain, code } = await ask({ csr: createCsr(web, key), token: token() });
  t.equal(code, 0);
  t.equal(chain.length, 3);
  const [leaf, intermediate, root] = chain.map((pem) => new X509Certificate(pem));
  t.ok(chain.every((pem) => pem.match(/BEGIN/g)?.length === 1 && pem.endsWith('-----\n')));
  t.equal(leaf?.subjectAltName, `URI:${web}`);
  t.ok(leaf?.checkPrivateKey(key));
  t.ok(leaf?.verify((intermediate as X509Certificate).publicKey));
  t.ok(intermediate?.verify((root as X509Certificate).publicKey));
  t.equal(chain[2], authority.rootPem);
});

t.test('the identity is that of the caller, whatever the request names', async (t) => {
  // CA-001, as istiod has it: the name is passed over and no certificate for it exists.
  const { ask, token } = await start(t);
  const { chain } = await ask({ csr: createCsr(admin, makeKey()), token: token() });
  t.equal(new X509Certificate(chain[0] ?? '').subjectAltName, `URI:${web}`);
});

t.test('who proves nothing gets nothing', async (t) => {
  // CA-003
  const { ask, authority, clock, logger, token } = await start(t);
  const stranger = makeAuthority().issue(web);
  const federated = makeAuthority().issue('spiffe://partner.example/ns/shop/sa/web');
  const server = authority.issueServer(['localhost']);
  const pair = ({ certificateChainPem: cert, privateKeyPem: key }: typeof stranger | typeof server) => ({ cert, key });
  const used = token();
  t.equal((await ask({ token: used })).code, 0);
  const cases: readonly (readonly [string, Partial<IstioCall>, RegExp])[] = [
    ['nothing', {}, /a join token or a valid client certificate is needed/],
    ['an empty token', { token: '' }, /a join token or a valid/],
    ['a token of no kind', { token: 'x' }, /no kind that is accepted/],
    ['an unknown join token', { token: `inmesh1.${'a'.repeat(16)}.${'b'.repeat(43)}` }, /unknown, expired or used up/],
    ['CA-004: a join token that was used', { token: used }, /unknown, expired or used up/],
    ['a certificate of a stranger', pair(stranger), /TLS did not verify/],
    ['a certificate of a federated domain', pair(federated), /TLS did not verify/],
    ['the certificate of a server', pair(server), /INVALID_PURPOSE/],
    ['the wish to be somebody else', { token: token(), members: { ImpersonatedIdentity: admin } }, /of others/],
  ];
  for (const [what, call, details] of cases) t.match(await ask(call), { code: 16, details, chain: [] }, what);
  t.notMatch(JSON.stringify(logger.lines), used.split('.')[2] as string, 'the log holds no token');

  const old = token();
  clock.jump(11 * minute);
  t.match(await ask({ token: old }), { code: 16, details: /unknown, expired or used up/ }, 'CA-005: an expired token');
});

t.test('a certificate renews, and comes before a token', async (t) => {
  const { ask, authority, clock, token } = await start(t);
  const key = makeKey();
  const { certificateChainPem: cert } = authority.signCsr(createCsr(web, key), web);
  const client = { cert, key: keyPem(key) };
  t.equal((await ask(client)).code, 0);
  const untouched = token();
  t.equal(
    (await ask({ ...client, token: untouched })).code,
    0,
    'as in istiod, the first that proves an identity counts',
  );
  clock.jump(61 * minute);
  t.match(await ask(client), { code: 16, details: /expired at/ });
  t.equal((await ask({ ...client, token: authority.createToken({ spiffeId: web }).token })).code, 0);
  t.match(await ask({ ...client, token: untouched }), { code: 16 }, 'that one has expired meanwhile');
});

t.test('a wish for a life is shortened to that of the authority, or refused as in istiod', async (t) => {
  const { ask, token } = await start(t);
  const cases: readonly (readonly [string, number | bigint | undefined, number | RegExp])[] = [
    ['none', undefined, 62],
    ['zero', 0, 62],
    ['a negative one', -5, 62],
    ['ten minutes', 600, 12],
    ['a day, which agents of Istio ask for', 86_400, 62],
    ['90 days', 7_776_000, 62],
    ['more than 90 days', 7_776_001, /the most is 7776000 s/],
    ['the largest number', 9_223_372_036_854_775_807n, /the most is 7776000 s/],
  ];
  for (const [what, validitySeconds, expected] of cases) {
    const call = validitySeconds === undefined ? {} : { validitySeconds };
    const { chain, code, details } = await ask({ ...call, token: token() });
    if (typeof expected === 'number') t.equal(minutesOf(chain[0]), expected, what);
    else t.match({ code, details }, { code: 3, details: expected }, what);
  }
});

t.test('requests that are refused have the status of istiod and leave the token unused', async (t) => {
  const { ask, authority, port, token } = await start(t);
  const once = token();
  const key = makeKey();
  authority.signCsr(createCsr(admin, key), admin);
  const caTrue = extensionAttribute(testExtension('2.5.29.19', true, derSequence(derTrue())));
  const cases: readonly (readonly [string, string, number, RegExp])[] = [
    ['no request', '', 3, /expected one PEM block/],
    ['CA-010: something else', 'x', 3, /expected one PEM block/],
    ['CA-002: an authority', csrPem(csrOf({ attributes: [caTrue] })), 3, /asks for an authority/],
    ['a key of somebody else', createCsr(web, key), 7, /key/],
    ['CA-009: 17 KiB', 'x'.repeat(17_000), 3, /larger than/],
  ];
  for (const [what, csr, code, details] of cases) t.match(await ask({ csr, token: once }), { code, details }, what);
  const big = istioRequest({ csr: 'x'.repeat(1_048_576) });
  t.match(await callRaw(port, { token: once, ca: authority.rootPem }, big), {
    code: 8,
    details: /more than 24576 bytes/,
  });
  t.equal((await ask({ token: once })).code, 0, 'the token is still good');
});

t.test('bytes that are no request are refused', async (t) => {
  const { authority, port, token } = await start(t);
  const ca = authority.rootPem;
  const once = token();
  for (const [what, hex] of [
    ['a length that is too long', '0aff01'],
    ['a group', '0b0c'],
    ['ten thousand groups', '0b'.repeat(10_000)],
    ['a tag of field 0', '0000'],
    ['a number without end', `18${'ff'.repeat(11)}`],
    ['a struct that is none', '2203ffffff'],
  ] as const) {
    const reply = await callRaw(port, { token: once, ca }, Buffer.from(hex, 'hex'));
    t.match(reply, { code: 13, details: /no IstioCertificateRequest/ }, what);
  }
  const unknown = Buffer.concat([Buffer.from('7a0161', 'hex'), istioRequest({ csr: createCsr(web, makeKey()) })]);
  t.equal((await callRaw(port, { token: once, ca }, unknown)).code, 0, 'an unknown field is passed over');
  t.match(await callRaw(port, { ca }, Buffer.alloc(0), '/istio.v1.auth.IstioCertificateService/X'), { code: 12 });
  t.match(await callRaw(port, { ca }, Buffer.alloc(0), '/'), { code: 12 });
});

t.test('who asks too often is told to wait, over both protocols together', async (t) => {
  // CA-015
  const { ask, clock, token } = await start(t, { requestsPerSecond: 2, burst: 3 });
  for (let i = 0; i < 3; i++) t.equal((await ask({ token: token() })).code, 0);
  t.match(await ask({ token: token() }), { code: 8, details: /too many requests/ });
  clock.advance(500);
  t.equal((await ask({ token: token() })).code, 0);
});

t.test('an authority that cannot sign says unavailable; what goes wrong inside stays inside', async (t) => {
  const old = await start(t);
  old.clock.jump(11 * 365 * 86_400_000);
  t.match(await old.ask({ token: old.token() }), { code: 14, details: /has expired/ });
  const authority = createAuthority();
  const logger = recordingLogger();
  const broken: Authority = {
    ...authority,
    checkToken: () => {
      throw new Error('disk on fire');
    },
  };
  const { port, close } = await serveAuthority(broken, { logger });
  t.teardown(close);
  const reply = await callIstio(port, { csr: 'x', token: 'inmesh1.y', ca: authority.rootPem });
  t.match(reply, { code: 13, details: 'the authority failed; see its log' });
  t.match(JSON.stringify(logger.lines), /disk on fire/);
});
