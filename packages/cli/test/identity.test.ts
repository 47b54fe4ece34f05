import t, { type Test } from 'tap';
import { makeAuthority } from '../../../test/support/certificates.ts';
import { makeCrlDer } from '../../../test/support/crls.ts';
import { derOf, encodeJwtBundles, encodeX509Svids, keyDer } from '../../spiffe/test/support/encode.ts';
import { jwkOf, jwtKey } from '../../spiffe/test/support/jwt.ts';
import { serveWorkloadApi } from '../../spiffe/test/support/workload-api.ts';
import { run } from '../src/index.ts';

const authority = makeAuthority();
const partner = makeAuthority({ trustDomain: 'partner.example' });
const web = 'spiffe://cluster.local/ns/shop/sa/web';

async function inmesh(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly out: string; readonly notes: string }> {
  const out: string[] = [];
  const notes: string[] = [];
  const output = { line: (text: string) => void out.push(text), note: (text: string) => void notes.push(text) };
  const code = await run(['identity', ...args], output, { env, cwd: '/' });
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

async function agent(t: Test) {
  const api = await serveWorkloadApi();
  t.teardown(api.close);

  const svids = [web, `${web}2`].map((spiffeId, i) => {
    const { certificateChainPem, privateKeyPem } = authority.issue(spiffeId);
    return {
      spiffeId,
      chain: derOf(certificateChainPem),
      key: keyDer(privateKeyPem),
      bundle: derOf(authority.rootPem),
      hint: ['', 'internal'][i] ?? '',
    };
  });
  api.answer(
    'FetchX509SVID',
    encodeX509Svids({
      svids,
      federated: { 'spiffe://partner.example': derOf(partner.rootPem) },
      crls: [makeCrlDer(partner.root)],
    }),
  );
  const keys = [jwkOf(jwtKey('ES256'), 'one')];
  api.answer('FetchJWTBundles', encodeJwtBundles([['spiffe://cluster.local', JSON.stringify({ keys })]]));
  return { api, secrets: svids.map((svid) => svid.key.toString('base64').slice(40, 80)) };
}

t.test('identity: what there is, until when, and who is trusted', async (t) => {
  const { api, secrets } = await agent(t);
  const { code, out, notes } = await inmesh([], { SPIFFE_ENDPOINT_SOCKET: api.address });
  t.equal(code, 0);
  t.equal(notes, '');
  t.match(out, `Workload API at ${api.address}\n\n${web} (default)\n  until 2`);
  t.match(out, /, (98|99|100) % of its life left\n {2}serial [0-9A-F]+, 1 intermediate\n/);
  t.match(out, `${web}2 (hint "internal")\n`);
  t.match(
    out,
    /trusted:\n {2}cluster\.local: 1 root, 1 JWT key\n {4}until .*, SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}\n/,
  );
  t.match(out, /partner\.example: 1 root, 1 revocation list, 0 JWT keys/);
  for (const secret of secrets) t.notOk(out.includes(secret));
});

t.test('identity: as JSON', async (t) => {
  const { api } = await agent(t);
  const { code, out } = await inmesh(['--socket', api.address, '--json']);
  t.equal(code, 0);
  const view = JSON.parse(out);
  t.match(view, {
    workloadApi: api.address,
    svids: [
      { spiffeId: web, hint: '', intermediates: 1 },
      { spiffeId: `${web}2`, hint: 'internal', intermediates: 1 },
    ],
    bundles: [
      { trustDomain: 'cluster.local', revocationLists: 0, jwtKeys: ['one'] },
      { trustDomain: 'partner.example', revocationLists: 1, jwtKeys: [] },
    ],
  });
  t.equal(view.bundles[0].roots.length, 1);
});

t.test('identity: the JWT profile may be switched off', async (t) => {
  const { api } = await agent(t);
  api.answer('FetchJWTBundles', { code: 12, details: 'disabled' });
  const { code, out } = await inmesh(['--socket', api.address]);
  t.equal(code, 0);
  t.match(out, /no JWT keys: .*UNIMPLEMENTED: disabled/);
});

t.test('identity: none, and the reason', async (t) => {
  const { api } = await agent(t);
  api.answer('FetchX509SVID', { code: 7, details: 'no identity issued' });
  const denied = await inmesh(['--socket', api.address]);
  t.equal(denied.code, 1);
  t.match(denied.notes, /^inmesh: FetchX509SVID .*PERMISSION_DENIED: no identity issued/);
  api.answer('FetchX509SVID', 'hang');
  const silent = await inmesh(['--socket', api.address, '--timeout', '100ms']);
  t.match([silent.code, silent.notes], [1, /DEADLINE_EXCEEDED: no answer within 100 ms/]);
  await api.stop();
  t.match((await inmesh(['--socket', api.address])).notes, /UNAVAILABLE/);
});

t.test('identity: a wrong command line', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /say where the Workload API is: --socket or SPIFFE_ENDPOINT_SOCKET/],
    [['--socket', 'localhost:1'], /expected unix:\/\/\/absolute\/path or tcp/],
    [['--socket', 'unix:///a', 'x'], /unexpected x/],
    [['--socket', 'unix:///a', '--timeout', 'soon'], /--timeout must be a duration/],
    [['--sockets', 'x'], /Unknown option '--sockets'/],
  ];
  for (const [args, message] of cases) {
    const { code, notes } = await inmesh(args);
    t.equal(code, 2);
    t.match(notes, message);
  }
  t.match((await inmesh(['--help'])).out, /^Usage: inmesh identity/);
});
