import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { MeshError } from '../../src/errors.ts';
import { derNull } from '../../src/identity/der-write.ts';
import { readPemCertificates } from '../../src/identity/pem.ts';
import { rootsOf } from '../../src/identity/trust.ts';
import { verifyPeer } from '../../src/identity/verify-peer.ts';
import { makeAuthority, makeCertificate, makeKey, testExtension } from '../support/certificates.ts';
import { saysWhy, svidWorld } from '../support/svid-cases.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

/** The error of an action that must fail. */
function failureOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

t.test('judges every certificate of the catalogue by the SPIFFE rules', async (t) => {
  for (const meshIntermediate of [true, false]) {
    const { mesh, partner, cases } = svidWorld({ meshIntermediate });
    const bundles = new Map([...mesh.trustBundles, ...partner.trustBundles]);
    for (const { id, title, presented, refusedFor } of cases) {
      const chain = readPemCertificates(presented.certificateChainPem, 'chain');
      const what = `${id} ${title}`;
      if (refusedFor === undefined) {
        t.equal(verifyPeer(chain, bundles, Date.now()).spiffeId, presented.spiffeId, what);
        continue;
      }
      const error = failureOf(() => verifyPeer(chain, bundles, Date.now()));
      t.ok(error instanceof MeshError && error.code === 'ERR_MESH_PEER_IDENTITY', what);
      t.ok(saysWhy(error, refusedFor), `${what}: ${String(error)} ${String((error as Error).cause)}`);
    }
  }
});

t.test('returns the parts of the identity and how long all of the chain is valid', async (t) => {
  const now = Date.now();
  const authority = makeAuthority({ intermediateOptions: { notAfter: now + 60_000 } });
  const chain = readPemCertificates(authority.issue(web).certificateChainPem, 'chain');
  const peer = verifyPeer(chain, authority.trustBundles, now);
  t.match(peer, { spiffeId: web, trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' });
  t.equal(peer.notAfter, Math.floor((now + 60_000) / 1_000) * 1_000, 'the intermediate ends first');
  const plain = readPemCertificates(authority.issue('spiffe://cluster.local/web').certificateChainPem, 'chain');
  t.notOk('namespace' in verifyPeer(plain, authority.trustBundles, now));
});

t.test('needs a certificate, and roots', async (t) => {
  const authority = makeAuthority();
  const chain = readPemCertificates(authority.issue(web).certificateChainPem, 'chain');
  t.throws(() => verifyPeer([], authority.trustBundles, Date.now()), { message: /no certificate was presented/ });
  t.throws(() => verifyPeer(chain, new Map(), Date.now()), { message: /not trusted \(trusted: none\)/ });
  t.throws(() => verifyPeer(chain, new Map([['cluster.local', []]]), Date.now()), { message: /not trusted/ });
});

t.test('takes a presented root and authorities in any order, and finds a way around a bad one', async (t) => {
  const authority = makeAuthority();
  const [leaf, intermediate] = readPemCertificates(authority.issue(web).certificateChainPem, 'chain');
  const root = new X509Certificate(authority.rootPem);
  // The same authority, certified once more by mistake: without the right to sign.
  const crippled = new X509Certificate(
    makeCertificate(authority.signer.key, { name: authority.signer.name, ca: null }, authority.root),
  );
  const chain = [leaf, root, crippled, intermediate].map((certificate) => certificate as X509Certificate);
  t.equal(verifyPeer(chain, authority.trustBundles, Date.now()).spiffeId, web);
});

t.test('refuses an authority that it does not understand', async (t) => {
  const unknown = testExtension('1.2.3.4', true, derNull());
  const cases = [
    { intermediateOptions: { extraExtensions: [unknown] }, why: /critical extensions that are unknown: 1\.2\.3\.4/ },
    { intermediateOptions: { extendedKeyUsage: ['codeSigning'] as const }, why: /expected serverAuth and clientAuth/ },
  ];
  for (const { intermediateOptions, why } of cases) {
    const authority = makeAuthority({ intermediateOptions });
    const chain = readPemCertificates(authority.issue(web).certificateChainPem, 'chain');
    const error = failureOf(() => verifyPeer(chain, authority.trustBundles, Date.now())) as Error;
    t.match(error.cause, { message: why });
  }
  const leafOnly = makeAuthority().issue(web, { extraExtensions: [unknown] });
  const chain = readPemCertificates(leafOnly.certificateChainPem, 'chain');
  t.throws(() => verifyPeer(chain, leafOnly.trustBundles, Date.now()), { message: /critical extensions/ });
});

t.test('parses the roots of a bundle once', async (t) => {
  const { trustBundles } = makeAuthority();
  t.equal(rootsOf(trustBundles, 'cluster.local'), rootsOf(trustBundles, 'cluster.local'));
  t.equal(rootsOf(trustBundles, 'other'), undefined);
  const withRubbish = new Map([['cluster.local', ['rubbish', ...(trustBundles.get('cluster.local') ?? [])]]]);
  t.equal(rootsOf(withRubbish, 'cluster.local')?.length, 1, 'one bad root does not take the others with it');
});

t.test('accepts no other identity, whichever bit of a certificate is flipped', async (t) => {
  // SVID-057. A flipped bit may leave the certificate valid only where it does not matter to anybody.
  const authority = makeAuthority({ intermediate: false });
  const [leaf] = readPemCertificates(authority.issue(web).certificateChainPem, 'chain');
  const der = Buffer.from((leaf as X509Certificate).raw);
  const accepted: string[] = [];
  for (let bit = 0; bit < der.length * 8; bit++) {
    const mask = 1 << (bit & 7);
    der[bit >> 3] = (der[bit >> 3] as number) ^ mask;
    try {
      accepted.push(verifyPeer([new X509Certificate(der)], authority.trustBundles, Date.now()).spiffeId);
    } catch {
      // Refused, by OpenSSL's parser or by us.
    }
    der[bit >> 3] = (der[bit >> 3] as number) ^ mask;
  }
  t.same(
    accepted.filter((id) => id !== web),
    [],
  );
  t.equal(verifyPeer([new X509Certificate(makeCopy(der))], authority.trustBundles, Date.now()).spiffeId, web);
});

function makeCopy(der: Buffer): Buffer {
  return Buffer.from(der);
}

t.test('refuses keys and algorithms that OpenSSL cannot verify with', async (t) => {
  const authority = makeAuthority({ intermediate: false });
  // Names fit, the key does not: the signature is somebody else's.
  const impostor = makeCertificate(makeKey(), { sans: [{ uri: web }] }, { name: authority.root.name, key: makeKey() });
  t.throws(() => verifyPeer([new X509Certificate(impostor)], authority.trustBundles, Date.now()), {
    message: /does not chain/,
  });
});
