// A second opinion: SPIRE's command line client, which is go-spiffe, asks the server of the Workload
// API that our own tests use, and what it takes and refuses is held against what we do.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWorkloadApiClient } from '@inmesh/spiffe';
import t, { type Test } from 'tap';
import {
  derOf,
  encodeJwtBundles,
  encodeJwtSvids,
  encodeValidated,
  encodeX509Svids,
  keyDer,
  type SentX509Svid,
} from '../../../packages/spiffe/test/support/encode.ts';
import { jwkOf, jwtKey, signToken } from '../../../packages/spiffe/test/support/jwt.ts';
import { serveWorkloadApi, type WorkloadApiServer } from '../../../packages/spiffe/test/support/workload-api.ts';
import { keyPem, makeAuthority, makeKey, type TestCertificateOptions } from '../../support/certificates.ts';
import { spirePrograms } from './programs.ts';

const programs = spirePrograms();
const authority = makeAuthority();
const partner = makeAuthority({ trustDomain: 'partner.example' });
const web = 'spiffe://cluster.local/ns/shop/sa/web';

function svid(options: TestCertificateOptions = {}, more: Partial<SentX509Svid> = {}): SentX509Svid {
  const { certificateChainPem, privateKeyPem } = authority.issue(web, options);
  const bundle = derOf(authority.rootPem);
  return { spiffeId: web, chain: derOf(certificateChainPem), key: keyDer(privateKeyPem), bundle, ...more };
}

async function begin(t: Test): Promise<{
  api: WorkloadApiServer;
  client: (...args: readonly string[]) => Promise<{ code: number; out: string }>;
}> {
  const api = await serveWorkloadApi();
  t.teardown(api.close);
  const program = 'why' in programs ? '' : programs.agent;
  const client = async (...args: readonly string[]): Promise<{ code: number; out: string }> => {
    const path = api.address.slice('unix://'.length);
    const child = spawn(program, ['api', ...args, '-socketPath', path], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk));
    const [code] = (await once(child, 'close')) as [number];
    return { code, out };
  };
  return { api, client };
}

const opinion = (name: string, run: (t: Test) => Promise<void>): void => {
  t.test(name, async (t) => {
    if ('why' in programs) t.comment(`skipped, there is no peer here: ${programs.why}`);
    else await run(t);
  });
};

opinion('SPIRE reads SVIDs, bundles and tokens of the server of our tests', async (t) => {
  const { api, client } = await begin(t);
  const sent = svid({}, { hint: 'internal' });
  api.answer(
    'FetchX509SVID',
    encodeX509Svids({ svids: [sent], federated: { 'spiffe://partner.example': derOf(partner.rootPem) } }),
  );
  const x509 = await client('fetch', 'x509', '-output', 'json');
  t.equal(x509.code, 0, x509.out);
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  t.match(JSON.parse(x509.out), {
    svids: [{ spiffe_id: web, hint: 'internal', x509_svid: base64(sent.chain), bundle: base64(sent.bundle) }],
    federated_bundles: { 'spiffe://partner.example': base64(derOf(partner.rootPem)) },
  });

  const key = jwtKey('ES256');
  const exp = Math.floor(Date.now() / 1_000) + 300;
  const claims = { sub: web, aud: ['cart'], exp, deep: { list: [1, true, 'x'] } };
  const token = signToken(key, { alg: 'ES256', kid: 'one', typ: 'JWT' }, claims);
  api.answer('FetchJWTSVID', encodeJwtSvids([{ spiffeId: web, token }]));
  api.answer(
    'FetchJWTBundles',
    encodeJwtBundles([['spiffe://cluster.local', JSON.stringify({ keys: [jwkOf(key, 'one')] })]]),
  );
  api.answer('ValidateJWTSVID', encodeValidated(web, claims));
  const jwt = await client('fetch', 'jwt', '-audience', 'cart', '-output', 'json');
  t.equal(jwt.code, 0, jwt.out);
  t.match(JSON.parse(jwt.out), [{ svids: [{ spiffe_id: web, svid: token }] }, {}]);
  const validated = await client('validate', 'jwt', '-audience', 'cart', '-svid', token, '-output', 'json');
  t.same(JSON.parse(validated.out), { spiffe_id: web, claims });
});

/**
 * What both refuse, and what one of us does. Not to have a path to the own roots is no reason for us: it
 * happens when a root is taken away, and to keep what was before would keep that root.
 */
const cases: readonly (readonly [
  name: string,
  refusedBy: 'nobody' | 'both' | 'us' | 'them',
  sent: readonly SentX509Svid[],
])[] = [
  ['a good one', 'nobody', [svid()]],
  ['two good ones', 'nobody', [svid(), svid({}, { hint: 'x' })]],
  ['a chain to no root of its bundle', 'them', [svid({}, { bundle: derOf(makeAuthority().rootPem) })]],
  ['no SVID', 'both', []],
  ['the key of another', 'us', [svid({}, { key: keyDer(keyPem(makeKey())) })]],
  ['a key that is none', 'both', [svid({}, { key: Buffer.from('x') })]],
  ['two names', 'both', [svid({ sans: [{ uri: web }, { uri: `${web}2` }] })]],
  ['no name', 'both', [svid({ sans: [{ dns: 'web.shop' }] })]],
  ['a name that is no SPIFFE ID', 'both', [svid({ sans: [{ uri: 'https://web' }] })]],
  ['an authority', 'both', [svid({ ca: true, keyUsage: ['digitalSignature'] })]],
  ['a leaf that may sign certificates', 'both', [svid({ keyUsage: ['digitalSignature', 'keyCertSign'] })]],
  ['a leaf that may sign revocations', 'both', [svid({ keyUsage: ['digitalSignature', 'cRLSign'] })]],
  ['a leaf without digitalSignature', 'us', [svid({ keyUsage: ['keyAgreement'] })]],
  ['a chain that ends early', 'both', [svid({}, { chain: svid().chain.subarray(0, -1) })]],
  ['a bundle that ends early', 'both', [svid({}, { bundle: svid().bundle.subarray(0, -1) })]],
  ['the announced ID of another', 'us', [svid({}, { spiffeId: `${web}2` })]],
  ['no bundle', 'both', [svid({}, { bundle: Buffer.alloc(0) })]],
  ['an expired one', 'both', [svid({ notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 })]],
  [
    'the path of a trust domain',
    'us',
    [svid({ sans: [{ uri: 'spiffe://cluster.local' }] }, { spiffeId: 'spiffe://cluster.local' })],
  ],
];

opinion('what go-spiffe makes of an SVID, and what we do', async (t) => {
  const { api, client } = await begin(t);
  const ours = createWorkloadApiClient({ address: api.address });
  for (const [name, refusedBy, sent] of cases) {
    api.answer('FetchX509SVID', encodeX509Svids({ svids: sent }));
    const theirs = await client('fetch', 'x509');
    const we = await ours.fetchX509Svids().then(
      () => 'taken',
      (error: Error) => `refused: ${error.message}`,
    );
    t.equal(
      theirs.code === 0,
      refusedBy === 'nobody' || refusedBy === 'us',
      `${name}: go-spiffe: ${theirs.out.trim().slice(0, 200)}`,
    );
    t.equal(we === 'taken', refusedBy === 'nobody' || refusedBy === 'them', `${name}: inmesh: ${we}`);
  }
});
