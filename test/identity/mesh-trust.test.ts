import t from 'tap';
import { createTrustingSink, withMeshTrust } from '../../src/identity/mesh-trust.ts';
import { readPemCertificates } from '../../src/identity/pem.ts';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { verifyPeer } from '../../src/identity/verify-peer.ts';
import type { MeshTrust } from '../../src/model/trust.ts';
import { makeAuthority } from '../support/certificates.ts';
import { crlsOf } from '../support/crls.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const mesh = makeAuthority({ trustDomain: 'td1' });
const partner = makeAuthority({ trustDomain: 'td2' });
const third = makeAuthority({ trustDomain: 'td3' });
const own = mesh.issue('spiffe://td1/ns/shop/sa/web');
const of = (trust: Partial<MeshTrust>): MeshTrust => ({ trustDomain: 'td1', aliases: [], anchors: [], ...trust });

/** Whose certificates a process with these credentials accepts: issuer and trust domain of the name. */
function accepted(credentials: Credentials): readonly string[] {
  const found: string[] = [];
  for (const [name, authority] of Object.entries({ mesh, partner, third })) {
    for (const domain of ['td1', 'td2', 'td3']) {
      const { certificateChainPem } = authority.issue(`spiffe://${domain}/ns/shop/sa/api`);
      try {
        verifyPeer(readPemCertificates(certificateChainPem, 'chain'), credentials.trustBundles, Date.now());
        found.push(`${name}: ${domain}`);
      } catch {
        // Refused.
      }
    }
  }
  return found;
}

t.test('which roots speak for which trust domain', async (t) => {
  const both = new Map([...mesh.trustBundles, ...partner.trustBundles]);
  const anchor = (authority: typeof mesh, ...trustDomains: string[]) => ({ pem: authority.rootPem, trustDomains });
  const cases: readonly (readonly [string, Credentials, MeshTrust | undefined, readonly string[]])[] = [
    ['nothing said', own, undefined, ['mesh: td1']],
    ['an alias', own, of({ aliases: ['td2'] }), ['mesh: td1', 'mesh: td2']],
    ['nobody chose a trust domain', own, { aliases: ['td2'], anchors: [] }, ['mesh: td1', 'mesh: td2']],
    ['the own one is an alias', own, of({ trustDomain: 'td2', aliases: ['td1'] }), ['mesh: td1', 'mesh: td2']],
    ['the own one is neither', own, of({ trustDomain: 'td2', aliases: ['td3'] }), ['mesh: td1']],
    [
      'an alias with roots of its own',
      { ...own, trustBundles: both },
      of({ aliases: ['td2'] }),
      ['mesh: td1', 'partner: td2'],
    ],
    ['roots without a name', own, of({ anchors: [anchor(third)] }), ['mesh: td1', 'third: td1']],
    [
      'roots without a name, and an alias',
      own,
      of({ aliases: ['td2'], anchors: [anchor(third)] }),
      ['mesh: td1', 'mesh: td2', 'third: td1', 'third: td2'],
    ],
    ['roots with a name', own, of({ anchors: [anchor(third, 'td3')] }), ['mesh: td1', 'third: td3']],
    [
      'roots with the name of an alias',
      own,
      of({ aliases: ['td2'], anchors: [anchor(partner, 'td2')] }),
      ['mesh: td1', 'partner: td2'],
    ],
    [
      'roots for what has some already',
      { ...own, trustBundles: both },
      of({ anchors: [anchor(third, 'td2'), anchor(partner, 'td2')] }),
      ['mesh: td1', 'partner: td2', 'third: td2'],
    ],
    [
      'several roots in one text',
      own,
      of({ anchors: [{ pem: partner.rootPem + third.rootPem, trustDomains: ['td3'] }] }),
      ['mesh: td1', 'third: td3'],
    ],
  ];
  for (const [what, credentials, trust, expected] of cases) {
    const widened = withMeshTrust(credentials, trust);
    // What partner signed for td3 counts where both roots are for td3.
    t.same(
      accepted(widened).filter((each) => each !== 'partner: td3'),
      expected,
      what,
    );
    t.same(credentials.trustBundles.get('td1'), [mesh.rootPem], 'what was given is not changed');
  }
  t.ok(
    accepted(
      withMeshTrust(own, of({ anchors: [{ pem: partner.rootPem + third.rootPem, trustDomains: ['td3'] }] })),
    ).includes('partner: td3'),
  );
});

t.test('an alias has the revocation lists of the own trust domain', async (t) => {
  const bad = mesh.issue('spiffe://td2/ns/shop/sa/api');
  const crlsByTrustDomain = crlsOf(mesh, { leaves: [bad.certificateChainPem] });
  const store = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  const sink = createTrustingSink(store, recordingLogger());
  sink.use(of({ aliases: ['td2'] }));
  sink.update({ ...own, crlsByTrustDomain });
  const trustBundles = store.current()?.credentials.trustBundles ?? new Map();
  const judge = (credentials: Credentials) =>
    verifyPeer(readPemCertificates(credentials.certificateChainPem, 'chain'), trustBundles, Date.now()).spiffeId;
  t.equal(judge(mesh.issue('spiffe://td2/ns/shop/sa/api')), 'spiffe://td2/ns/shop/sa/api');
  t.throws(() => judge(bad), { message: /is revoked/ });
  store.close();
});

t.test('trust changes without new credentials, and credentials without new trust', async (t) => {
  const logger = recordingLogger();
  const store = createIdentityStore({ clock: fakeClock(), logger });
  const sink = createTrustingSink(store, logger);
  const domains = () => [...(store.current()?.credentials.trustBundles.keys() ?? [])];
  const aliased = of({ aliases: ['td2'] });
  sink.use(aliased);
  t.same(domains(), [], 'nothing to add to yet');
  sink.update(own);
  t.same(domains(), ['td1', 'td2']);
  const { generation } = store.current() ?? {};
  sink.use(aliased);
  sink.use(of({ aliases: ['td2'] }));
  t.equal(store.current()?.generation, generation, 'the same is no news');
  sink.use(of({ aliases: ['td3'] }));
  t.same(domains(), ['td1', 'td3']);
  const renewed = mesh.issue('spiffe://td1/ns/shop/sa/web');
  sink.update(renewed);
  t.same(domains(), ['td1', 'td3']);
  sink.update({ ...mesh.issue('spiffe://td1/ns/shop/sa/web'), privateKeyPem: 'rubbish' });
  sink.use(undefined);
  t.same(domains(), ['td1'], 'what was refused is not offered again');
  t.equal(store.current()?.credentials.certificateChainPem, renewed.certificateChainPem);
  sink.reject(new Error('bad'));
  t.match(store.lastProblem(), { message: 'bad' });
  sink.lost(new Error('away'));
  t.match(store.lastProblem(), { message: 'away' });
  sink.warn?.(new Error('a key that everybody can read'));
  t.match(logger.lines.at(-1), { level: 'warn', fields: { warning: 'a key that everybody can read' } });
  store.close();
});

t.test('what the store refuses is not offered again, and nothing reaches the source', async (t) => {
  const logger = recordingLogger();
  const store = createIdentityStore({ clock: fakeClock(), logger });
  const sink = createTrustingSink(store, logger);
  sink.update(own);
  sink.update({ ...own, trustBundles: new Map([['td1', ['rubbish']]]) });
  t.match(store.lastProblem()?.message, /trust bundle of td1/);
  sink.use(of({ aliases: ['td2'] }));
  t.same(
    [...(store.current()?.credentials.trustBundles.keys() ?? [])],
    ['td1', 'td2'],
    'the last good ones, with the new trust',
  );
  sink.use(of({ anchors: [{ pem: 'rubbish', trustDomains: [] }] }));
  t.match(store.lastProblem()?.message, /caCertificates for td1: no certificate in it/);
  t.same([...(store.current()?.credentials.trustBundles.keys() ?? [])], ['td1', 'td2']);
  store.close();
});

t.test('an alias that is new while the own lists are broken has those that are in force', async (t) => {
  const bad = mesh.issue('spiffe://td2/ns/shop/sa/api');
  const store = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  const sink = createTrustingSink(store, recordingLogger());
  sink.update({ ...own, crlsByTrustDomain: crlsOf(mesh, { leaves: [bad.certificateChainPem] }) });
  sink.update({
    ...mesh.issue('spiffe://td1/ns/shop/sa/web'),
    crlsByTrustDomain: new Map([['td1', ['rubbish']]]),
  });
  sink.use(of({ aliases: ['td2'] }));
  const trustBundles = store.current()?.credentials.trustBundles ?? new Map();
  t.throws(() => verifyPeer(readPemCertificates(bad.certificateChainPem, 'chain'), trustBundles, Date.now()), {
    code: 'ERR_MESH_PEER_IDENTITY',
  });
  store.close();
});

t.test('credentials whose own roots only the mesh knows are taken when it says them', async (t) => {
  const store = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  const sink = createTrustingSink(store, recordingLogger());
  sink.update({ ...own, trustBundles: new Map() });
  t.match(store.lastProblem()?.message, /there are no roots for its own trust domain td1/);
  sink.use(of({ anchors: [{ pem: mesh.rootPem, trustDomains: [] }] }));
  t.equal(store.current()?.credentials.certificateChainPem, own.certificateChainPem);
  t.equal(store.lastProblem(), undefined);
  store.close();
});

t.test('says when the aliases are not for the own trust domain', async (t) => {
  const logger = recordingLogger();
  const store = createIdentityStore({ clock: fakeClock(), logger });
  const sink = createTrustingSink(store, logger);
  sink.update(own);
  sink.use(of({ trustDomain: 'td2', aliases: ['td3'] }));
  t.match(logger.lines.at(-1), { level: 'warn', message: /the own trust domain is none of those of the mesh/ });
  store.close();
  t.equal(
    withMeshTrust({ ...own, spiffeId: 'nonsense' }, of({ aliases: ['td2'] })).spiffeId,
    'nonsense',
    'left to the store',
  );
});
