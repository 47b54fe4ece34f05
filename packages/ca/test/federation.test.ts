import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatSpiffeBundle, parseSpiffeBundle } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import {
  type BundleEndpointOptions,
  createAuthority,
  createFederation,
  type Federation,
  type FederationRelation,
  folderFederationStore,
  memoryFederationStore,
  serveBundleEndpoint,
} from '../src/index.ts';
import { startIssuer } from './support/token-issuer.ts';

const partner = 'partner.example';
const endpointId = `spiffe://${partner}/inmesh/bundle-endpoint`;

/** The authority of another trust domain with its endpoint. */
async function startPartner(t: Test, clock: FakeClock, options: BundleEndpointOptions = {}, trustDomain = partner) {
  const authority = createAuthority({ trustDomain, clock });
  const endpoint = await serveBundleEndpoint(authority, { clock, ...options });
  t.teardown(endpoint.close);
  const document = (
    roots: readonly string[] = [authority.rootPem],
    sequence?: bigint,
    refreshHintMs?: number,
  ): string =>
    formatSpiffeBundle({
      x509Authorities: roots,
      jwtAuthorities: [],
      ...(sequence === undefined ? {} : { sequence }),
      ...(refreshHintMs === undefined ? {} : { refreshHintMs }),
    });
  return { authority, endpoint, document };
}

function makeFederation(t: Test, clock: FakeClock, options: { store?: ReturnType<typeof memoryFederationStore> } = {}) {
  const logger = recordingLogger();
  const own = createAuthority({ clock });
  const federation = createFederation({
    store: memoryFederationStore(),
    trustDomain: 'cluster.local',
    ownRoots: () => [own.rootPem],
    clock,
    logger,
    random: () => 0,
    ...options,
  });
  t.teardown(() => federation.close());
  return { federation, logger, own };
}

/** Runs what is due and waits until no fetch is under way: each has a timer of its own for its end. */
async function fetched(federation: Federation, clock: FakeClock): Promise<void> {
  const state = (): string =>
    JSON.stringify(federation.status().map((one) => [one.fetchedAt, one.problem, String(one.sequence)]));
  const before = state();
  clock.advance(0);
  while (state() === before) await new Promise((resolve) => setImmediate(resolve));
  // The next fetch is planned right after.
  await new Promise((resolve) => setImmediate(resolve));
}

const rootsOf = (federation: Federation, domain = partner): readonly string[] | undefined =>
  federation.bundles().get(domain);

t.test('https_spiffe: the endpoint proves itself by the bundle in hand, and brings the next one', async (t) => {
  const clock = fakeClock();
  const { authority, document, endpoint } = await startPartner(t, clock);
  const { federation } = makeFederation(t, clock);
  t.equal(endpoint.spiffeId, endpointId);
  const relation: FederationRelation = {
    trustDomain: partner,
    url: endpoint.url,
    profile: 'https_spiffe',
    endpointSpiffeId: endpointId,
  };
  federation.add(relation, document());
  t.same(rootsOf(federation), [authority.rootPem], 'what was given counts at once');
  let changes = 0;
  federation.subscribe(() => changes++);
  federation.sync();
  await fetched(federation, clock);
  t.match(federation.status(), [{ roots: 1, fetchedAt: clock.wallNow(), refreshMs: 300_000, problem: undefined }]);
  t.equal(changes, 0, 'the same roots are no change');
  const first = federation.bundles();

  authority.rotation.prepare();
  clock.advance(299_999);
  t.equal(federation.bundles(), first);
  clock.advance(1);
  await fetched(federation, clock);
  t.equal(rootsOf(federation)?.length, 2, 'both roots of an exchange');
  // The clock of TLS stands still meanwhile: by it, a certificate made later would not be valid yet.
  clock.jump(-600_000);
  t.equal(changes, 1);
  authority.rotation.activate();
  authority.rotation.finish({ force: true });
  clock.advance(300_000);
  await fetched(federation, clock);
  t.same(
    rootsOf(federation),
    [authority.rootPem],
    'the endpoint, now of the new root, was believed; the old root is gone',
  );

  t.equal(federation.remove(partner), true);
  t.equal(federation.bundles().size, 0);
  t.equal(changes, 3, 'each was told');
  t.equal(federation.remove(partner), false);
  await t.rejects(federation.fetch(partner), { code: 'ERR_MESH_CA', reason: 'not_found' });
});

t.test('https_spiffe: who does not prove to be the endpoint brings nothing', async (t) => {
  const clock = fakeClock();
  const { authority, document, endpoint } = await startPartner(t, clock);
  const impostor = await startPartner(t, clock);
  const web = await startPartner(t, clock, { profile: 'https_web' });
  const other = await startPartner(t, clock, {}, 'other.example');
  const { federation, logger } = makeFederation(t, clock);
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    ['another SPIFFE ID', endpoint.url, `spiffe://${partner}/ns/shop/sa/web`, /expected spiffe:.*web, presented/],
    ['the same ID by another root', impostor.endpoint.url, endpointId, /self-signed|unable to|issuer/],
    ['a certificate for its name', web.endpoint.url, endpointId, /self-signed|unable to|issuer/],
    ['an endpoint of another domain', other.endpoint.url, endpointId, /self-signed|unable to|issuer/],
    ['nobody', 'https://127.0.0.1:1/', endpointId, /ECONNREFUSED/],
  ];
  for (const [what, url, endpointSpiffeId, message] of cases) {
    federation.add({ trustDomain: partner, url, profile: 'https_spiffe', endpointSpiffeId }, document());
    await t.rejects(federation.fetch(partner), { code: 'ERR_MESH_CA', reason: 'unavailable', message }, what);
    t.same(rootsOf(federation), [authority.rootPem], `${what}: the last good one stays`);
    t.match(federation.status(), [{ problem: message }]);
  }
  t.match(JSON.stringify(logger.lines), /could not be fetched/);
});

t.test('https_spiffe: an endpoint of another domain is held against the bundle of that one', async (t) => {
  const clock = fakeClock();
  const { authority, document, endpoint } = await startPartner(t, clock);
  const { federation, own } = makeFederation(t, clock);
  const url = endpoint.url;
  federation.add({ trustDomain: 'third.example', url, profile: 'https_spiffe', endpointSpiffeId: endpointId });
  await t.rejects(federation.fetch('third.example'), { code: 'ERR_MESH_CA', message: /no bundle of partner\.example/ });
  federation.add({ trustDomain: partner, url, profile: 'https_spiffe', endpointSpiffeId: endpointId }, document());
  await federation.fetch('third.example');
  t.same(rootsOf(federation, 'third.example'), [authority.rootPem]);

  const ownEndpoint = await serveBundleEndpoint(own, { clock });
  t.teardown(ownEndpoint.close);
  const endpointSpiffeId = ownEndpoint.spiffeId ?? '';
  federation.add({ trustDomain: 'fourth.example', url: ownEndpoint.url, profile: 'https_spiffe', endpointSpiffeId });
  await federation.fetch('fourth.example');
  t.same(rootsOf(federation, 'fourth.example'), [own.rootPem], 'one of the own domain by the own roots');
});

t.test('https_web: the endpoint proves its name to the roots that are given', async (t) => {
  const clock = fakeClock();
  const { authority, endpoint } = await startPartner(t, clock, { profile: 'https_web' });
  const { federation } = makeFederation(t, clock);
  const relation: FederationRelation = { trustDomain: partner, url: endpoint.url, profile: 'https_web' };
  federation.add(relation);
  await t.rejects(
    federation.fetch(partner),
    { code: 'ERR_MESH_CA', message: /self-signed|unable to/ },
    'roots of Node',
  );
  t.equal(rootsOf(federation), undefined);
  federation.add({ ...relation, caPem: authority.rootPem });
  await federation.fetch(partner);
  t.same(rootsOf(federation), [authority.rootPem]);
  const named = await startPartner(t, clock, { profile: 'https_web', names: ['elsewhere.example'] });
  federation.add({ ...relation, url: named.endpoint.url, caPem: named.authority.rootPem });
  await t.rejects(federation.fetch(partner), { code: 'ERR_MESH_CA', message: /altnames|does not match/ });
  t.equal(rootsOf(federation), undefined, 'a relation that was changed begins anew');
});

t.test('answers that are no newer bundle leave the last good one in force', async (t) => {
  const clock = fakeClock();
  const site = await startIssuer(t);
  const { authority, document } = await startPartner(t, clock);
  const root = authority.rootPem;
  const next = createAuthority({ clock }).rootPem;
  const { federation } = makeFederation(t, clock);
  federation.add({ trustDomain: partner, url: `${site.url}/bundle`, profile: 'https_web', caPem: site.rootPem });
  site.pages.set('/bundle', document([root], 7n, 60_000));
  await federation.fetch(partner);
  t.match(federation.status(), [{ refreshMs: 60_000, sequence: 7n }]);
  const jwk = { ...JSON.parse(document()).keys[0], d: 'AAAA' };
  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    ['an error', 500, /it answered 500/],
    ['nothing there', 404, /it answered 404/],
    ['nothing', '', /a SPIFFE bundle is expected/],
    ['no JSON', '{', /a SPIFFE bundle is expected/],
    ['no keys', '{}', /keys must be a list/],
    ['a private key', { keys: [jwk] }, /private key/],
    ['an older one', document([next], 6n), /it has sequence 6, older than 7 in force/],
    ['too large a one', ' '.repeat(2_200_000), /more than 2097152 bytes/],
    ['a redirect without end', 302, /redirects once too often|answered 404/],
  ];
  for (const [what, page, message] of cases) {
    site.pages.set('/bundle', page);
    if (what.startsWith('a redirect')) site.pages.set('/elsewhere', 302);
    await t.rejects(federation.fetch(partner), { code: 'ERR_MESH_CA', message }, what);
    t.same(rootsOf(federation), [root], what);
  }
  site.pages.set('/bundle', 307);
  site.pages.set('/elsewhere', document([root, next], 8n));
  await federation.fetch(partner);
  t.same(rootsOf(federation), [root, next], 'a redirect to an endpoint that proves the same is followed');
  t.match(federation.status(), [{ sequence: 8n, refreshMs: 300_000, problem: undefined }]);
  site.pages.set('/bundle', document([next]));
  await federation.fetch(partner);
  t.same(rootsOf(federation), [next], 'without a sequence the last one counts');
  site.pages.set('/bundle', document([]));
  await federation.fetch(partner);
  t.same(rootsOf(federation), [], 'a bundle without keys means that nothing is trusted');
});

t.test('bundles are asked for when their hint says, and sooner only while there is none', async (t) => {
  const clock = fakeClock();
  const site = await startIssuer(t);
  const { document } = await startPartner(t, clock);
  const { federation, logger } = makeFederation(t, clock);
  const asked = (): number => site.asked.length;
  federation.add({ trustDomain: partner, url: `${site.url}/bundle`, profile: 'https_web', caPem: site.rootPem });
  t.equal(asked(), 0, 'nothing is asked for before it is followed');
  federation.sync();
  site.pages.set('/bundle', 500);
  await fetched(federation, clock);
  t.equal(asked(), 1);
  for (const delay of [2_000, 4_000, 8_000, 16_000]) {
    const before = asked();
    const failures = (): number => logger.messages('warn').length;
    const failed = failures();
    clock.advance(delay - 1);
    t.equal(asked(), before);
    clock.advance(1);
    while (failures() === failed) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(asked(), before + 1);
  }
  site.pages.set('/bundle', document(undefined, 1n, 0));
  await federation.fetch(partner);
  t.match(federation.status(), [{ refreshMs: 1_000 }], 'a hint of nothing is one second');
  site.pages.set('/bundle', document(undefined, 2n, 10 * 86_400_000));
  await federation.fetch(partner);
  t.match(federation.status(), [{ refreshMs: 86_400_000 }], 'a hint of ten days is one');
  site.pages.set('/bundle', 500);
  await t.rejects(federation.fetch(partner), { code: 'ERR_MESH_CA' });
  const now = asked();
  clock.advance(86_399_999);
  t.equal(asked(), now, 'after a failure the regular time counts');
});

t.test('what one process writes into the folder, another follows', async (t) => {
  const clock = fakeClock();
  const folder = mkdtempSync(join(tmpdir(), 'federation-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const site = await startIssuer(t);
  const { authority, document } = await startPartner(t, clock);
  const root = authority.rootPem;
  const other = createAuthority({ clock }).rootPem;
  site.pages.set('/bundle', document([root], 5n));
  const open = () => makeFederation(t, clock, { store: folderFederationStore(folder, 'cluster.local') });
  const server = open();
  const command = open();
  server.federation.sync();
  const relation: FederationRelation = {
    trustDomain: partner,
    url: `${site.url}/bundle`,
    profile: 'https_web',
    caPem: site.rootPem,
  };
  command.federation.add(relation);
  t.equal(server.federation.bundles().size, 0);
  server.federation.sync();
  await fetched(server.federation, clock);
  t.same(rootsOf(server.federation), [root]);
  t.same(rootsOf(open().federation), [root], 'the last good one is there after a start, before anything is fetched');

  command.federation.add(relation, document([other], 1n));
  server.federation.sync();
  t.same(rootsOf(server.federation), [other], 'what somebody puts there by hand counts until the next fetch');
  await fetched(server.federation, clock);
  t.same(rootsOf(server.federation), [root]);

  writeFileSync(join(folder, 'bad.relation.json'), '{');
  writeFileSync(join(folder, 'named.relation.json'), JSON.stringify({ ...relation, name: 'other' }));
  writeFileSync(join(folder, `${partner}.bundle.json`), 'garbage');
  server.federation.sync();
  server.federation.sync();
  const broken = server.logger.lines.filter((line) =>
    JSON.stringify(line).includes('cannot be read; it is not followed'),
  );
  t.equal(broken.length, 2, 'each once');
  t.equal(server.federation.status().length, 1);
  rmSync(join(folder, 'bad.relation.json'));
  rmSync(join(folder, 'named.relation.json'));

  t.equal(command.federation.remove(partner), true);
  server.federation.sync();
  t.equal(server.federation.bundles().size, 0, 'a relation that was removed is trusted no longer');
  t.same(readdirSync(folder), []);
});

t.test('a fetch that was under way when its relation ended changes nothing', async (t) => {
  const clock = fakeClock();
  const site = await startIssuer(t);
  const { document } = await startPartner(t, clock);
  site.pages.set('/bundle', document());
  const { federation } = makeFederation(t, clock);
  federation.add({ trustDomain: partner, url: `${site.url}/bundle`, profile: 'https_web', caPem: site.rootPem });
  const running = federation.fetch(partner);
  federation.remove(partner);
  await running;
  t.equal(federation.bundles().size, 0);
});

t.test('several relations of one trust domain add up; those of two never do', async (t) => {
  const clock = fakeClock();
  const [one, two, three] = [createAuthority({ clock }), createAuthority({ clock }), createAuthority({ clock })];
  const { document } = await startPartner(t, clock);
  const { federation } = makeFederation(t, clock);
  const relation = (name: string, trustDomain: string): FederationRelation => ({
    name,
    trustDomain,
    url: 'https://127.0.0.1:1/',
    profile: 'https_web',
    ...(trustDomain === 'cluster.local' ? { shared: true } : {}),
  });
  federation.add(relation('b', partner), document([two.rootPem]));
  federation.add(relation('a', partner), document([one.rootPem]));
  federation.add(relation('west', 'cluster.local'), document([three.rootPem]));
  t.same(
    [...federation.bundles()],
    [
      [partner, [one.rootPem, two.rootPem]],
      ['cluster.local', [three.rootPem]],
    ],
  );
});

t.test('what one partner publishes leaves room for the others', async (t) => {
  const clock = fakeClock();
  const site = await startIssuer(t);
  const { document } = await startPartner(t, clock);
  const { federation } = makeFederation(t, clock);
  const roots = Array.from({ length: 1_000 }, () => makeAuthority().rootPem);
  const length = roots[0]?.length ?? 0;
  const most = Math.floor(60_000 / length);
  const relation = (name: string): FederationRelation => ({
    name,
    trustDomain: `${name}.example`,
    url: `${site.url}/bundle`,
    profile: 'https_web',
    caPem: site.rootPem,
  });
  federation.add(relation('greedy'), document(roots.slice(0, 1)));
  site.pages.set('/bundle', document(roots.slice(0, 2 * most)));
  await t.rejects(federation.fetch('greedy'), { code: 'ERR_MESH_CA', message: /the most is 65536 characters of PEM/ });
  t.equal(rootsOf(federation, 'greedy.example')?.length, 1);
  const many = document(roots.slice(0, most));
  t.throws(() => federation.add(relation('other'), document(roots.slice(0, 2 * most))), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /the most is 65536/,
  });
  for (let i = 0; i < 8; i++) federation.add(relation(`many-${i}`), many);
  t.throws(() => federation.add(relation('many-9'), many), { message: /more than 524288 characters of roots/ });
  site.pages.set('/bundle', many);
  await t.rejects(federation.fetch('greedy'), { code: 'ERR_MESH_CA', message: /more than 524288 characters of roots/ });
  await federation.fetch('many-0');
  t.equal(federation.bundles().size, 9);
});

t.test('relations that can never work are refused', async (t) => {
  const clock = fakeClock();
  const { document } = await startPartner(t, clock);
  const { federation } = makeFederation(t, clock);
  const good = { trustDomain: partner, url: 'https://x/', profile: 'https_spiffe', endpointSpiffeId: endpointId };
  const web = { trustDomain: partner, url: 'https://x/', profile: 'https_web' };
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['a trust domain in upper case', { ...good, trustDomain: 'Partner' }, /trustDomain: expected a trust domain/],
    ['a SPIFFE ID as trust domain', { ...good, trustDomain: 'spiffe://a' }, /expected a trust domain/],
    ['the own trust domain', { ...good, trustDomain: 'cluster.local' }, /the own one; say shared/],
    ['another one as shared', { ...good, shared: true }, /partner\.example is not the own one/],
    ['http', { ...good, url: 'http://x/' }, /url: expected an https URL/],
    ['a user in the URL', { ...good, url: 'https://u@x/' }, /without user and password/],
    ['no URL', { ...good, url: '' }, /url: expected an https URL/],
    ['another profile', { ...good, profile: 'http' }, /expected https_web or https_spiffe/],
    ['https_spiffe without an ID', { ...good, endpointSpiffeId: undefined }, /needs the SPIFFE ID/],
    ['an ID that is none', { ...good, endpointSpiffeId: 'https://x' }, /needs the SPIFFE ID/],
    ['an ID of no workload', { ...good, endpointSpiffeId: 'spiffe://partner.example' }, /needs the SPIFFE ID/],
    ['https_spiffe with roots', { ...good, caPem: 'x' }, /caPem: it belongs to https_web/],
    ['https_web with an ID', { ...web, endpointSpiffeId: endpointId }, /it belongs to https_spiffe/],
    ['https_web with roots that are none', { ...web, caPem: 'x' }, /caPem:/],
    ['a name with a slash', { ...web, name: '../x' }, /name: expected up to 100/],
  ];
  for (const [what, relation, message] of cases) {
    const wrong = relation as FederationRelation;
    t.throws(() => federation.add(wrong, document()), { code: 'ERR_MESH_OPTION_INVALID', message }, what);
  }
  const relation = good as FederationRelation;
  t.throws(() => federation.add(relation), { message: /needs a bundle of the trust domain for the beginning/ });
  t.throws(() => federation.add(relation, '{'), { message: /a SPIFFE bundle is expected/ });
  t.equal(federation.status().length, 0);
});

t.test('the document of an endpoint has the own roots, a sequence that grows, and a hint', async (t) => {
  const clock = fakeClock();
  const folder = mkdtempSync(join(tmpdir(), 'sequence-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const authority = createAuthority({ clock, trustDomain: partner, dir: join(folder, 'ca') });
  const read = async () => {
    const endpoint = await serveBundleEndpoint(authority, {
      clock,
      dir: folder,
      profile: 'https_web',
      refreshMs: 90_000,
    });
    const { federation } = makeFederation(t, clock);
    federation.add({ trustDomain: partner, url: endpoint.url, profile: 'https_web', caPem: authority.rootPem });
    await federation.fetch(partner);
    const [status] = federation.status();
    federation.close();
    await endpoint.close();
    return { sequence: status?.sequence ?? 0n, refreshMs: status?.refreshMs, roots: rootsOf(federation) };
  };
  const first = await read();
  t.match(first, { refreshMs: 90_000, roots: [authority.rootPem] });
  t.equal((await read()).sequence, first.sequence, 'the same over a restart');
  authority.rotation.prepare();
  const second = await read();
  t.ok(second.sequence > first.sequence, 'more when the roots have changed, within one second as well');
  t.equal(second.roots?.length, 2);
  clock.jump(-3_600_000);
  authority.rotation.abort();
  t.ok((await read()).sequence > second.sequence, 'also when the clock was set back');
  t.equal(parseSpiffeBundle(formatSpiffeBundle({ x509Authorities: [], jwtAuthorities: [] }), 'x').sequence, undefined);
});
