import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Credentials } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { identitySourceSuite } from '../../../test/suites/identity-source.ts';
import { makeAuthority, type TestAuthority } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { type IstiodSourceOptions, istiodSource } from '../src/index.ts';
import { type FakeIstiod, fakeIstiod, type IstiodAnswer, type IstiodRequest, issue } from './support/fake-istiod.ts';

const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
const serverName = 'istiod.istio-system.svc';
const hour = 3_600_000;
const limitMs = 12_345;

/** A token of Kubernetes, as far as anybody here reads it. */
const tokenFor = (subject: string): string =>
  `e30.${Buffer.from(JSON.stringify({ sub: subject, aud: ['istio-ca'] })).toString('base64url')}.c2lnbmF0dXJl`;
const cartToken = tokenFor('system:serviceaccount:shop:cart');

/** A folder with these files, as many as a test likes; `t.testdir` has one. */
function folderOf(t: Test, files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'istiod-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

function mounts(t: Test, authority: TestAuthority): { readonly trustRoot: string; readonly tokenFile: string } {
  const folder = folderOf(t, { 'root-cert.pem': authority.rootPem, 'istio-token': `${cartToken}\n` });
  return { trustRoot: join(folder, 'root-cert.pem'), tokenFile: join(folder, 'istio-token') };
}

identitySourceSuite(t, {
  name: 'istiod',
  isLimit: (delayMs) => delayMs === limitMs,
  make: async (t, clock) => {
    const authority = makeAuthority();
    const other = makeAuthority({ name: authority.root.name });
    let answer: (request: IstiodRequest) => IstiodAnswer = () => ({ code: status.UNAVAILABLE, details: 'starting' });
    let good = answer;
    let askedBefore = 0;
    const istiod = await fakeIstiod(authority, (request) => answer(request));
    return {
      source: istiodSource({
        ...mounts(t, authority),
        address: istiod.address,
        serverName,
        clock,
        timeoutMs: limitMs,
        random: () => 0.5,
        env: {},
      }),
      spiffeId: cart,
      issue: async ({ extraRoots = [], notAfter = clock.wallNow() + hour } = {}) => {
        const notBefore = Math.min(clock.wallNow(), Date.now()) - 3 * hour;
        const roots = [authority.rootPem, ...extraRoots];
        good = answer = (request) => issue(authority, request, cart, { notBefore, notAfter, roots });
      },
      mismatch: async () => {
        const { publicKey } = { publicKey: other.root.key };
        answer = (request) => issue(authority, { ...request, publicKey }, cart);
      },
      garble: async () => {
        answer = () => Buffer.from('<html>');
      },
      cutOff: async () => istiod.stop(),
      reconnect: async () => {
        answer = good;
        await istiod.start();
      },
      hang: async () => {
        askedBefore = istiod.requests.length;
        answer = () => 'hang';
      },
      asked: () => istiod.requests.length > askedBefore,
      secrets: () => [cartToken],
      close: async () => istiod.stop(),
    };
  },
});

interface Running {
  readonly istiod: FakeIstiod;
  readonly authority: TestAuthority;
  readonly clock: FakeClock;
  readonly updates: readonly Credentials[];
  readonly problems: readonly string[];
  /** Lengths of the waits, limits of tries left out. */
  readonly waits: readonly number[];
  readonly files: { readonly trustRoot: string; readonly tokenFile: string };
  until(reached: () => boolean): Promise<void>;
  /** Waits until it has slept so many times, and wakes it after each but the last. */
  sleeps(count: number): Promise<void>;
}

/** A source beside a fake istiod, which answers with a good certificate unless `answer` says otherwise. */
async function begin(
  t: Test,
  options: Partial<IstiodSourceOptions> = {},
  answer: (request: IstiodRequest, index: number, authority: TestAuthority) => IstiodAnswer = (request, _, authority) =>
    issue(authority, request, cart),
  names?: readonly string[],
): Promise<Running> {
  const authority = makeAuthority();
  const istiod = await fakeIstiod(authority, (request, index) => answer(request, index, authority), names);
  const files = mounts(t, authority);
  const clock = fakeClock();
  const updates: Credentials[] = [];
  const problems: string[] = [];
  const waits: number[] = [];
  const watching: FakeClock = {
    ...clock,
    after: (delayMs, action) => {
      if (delayMs !== limitMs) waits.push(delayMs);
      return clock.after(delayMs, action);
    },
  };
  const abort = new AbortController();
  const shown = (error: Error): string =>
    error.message.replaceAll(istiod.address, 'ISTIOD').replaceAll(files.tokenFile, 'TOKEN');
  const running = istiodSource({
    ...files,
    address: istiod.address,
    serverName,
    timeoutMs: limitMs,
    random: () => 0.5,
    env: {},
    ...options,
    clock: watching,
  }).run(
    {
      update: (credentials) => void updates.push(credentials),
      reject: (problem) => void problems.push(`rejected: ${shown(problem)}`),
      lost: (reason) => void problems.push(`lost: ${shown(reason)}`),
    },
    abort.signal,
  );
  t.teardown(async () => {
    abort.abort();
    await running;
    istiod.stop();
  });
  const until = async (reached: () => boolean): Promise<void> => {
    const limit = performance.now() + 20_000;
    while (!reached()) {
      if (performance.now() > limit)
        throw new Error(`waited in vain; ${updates.length} updates; ${problems.join('; ')}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const sleeps = async (count: number): Promise<void> => {
    while (waits.length < count) {
      const before = waits.length;
      if (before > 0) clock.advance(waits.at(-1) as number);
      await until(() => waits.length > before);
    }
  };
  return { istiod, authority, clock, updates, problems, waits, files, until, sleeps };
}

t.test('asks as istio-agent does, and takes the last element for the root', async (t) => {
  const { authority, istiod, problems, sleeps, updates } = await begin(t);
  await sleeps(1);
  t.same(problems, []);
  const [request] = istiod.requests;
  t.match(request, {
    token: cartToken,
    clusterId: 'Kubernetes',
    validitySeconds: 86_400,
    metadata: {},
    client: undefined,
  });
  t.match(request?.csr, /^-----BEGIN CERTIFICATE REQUEST-----\n/);
  t.equal(request?.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  t.equal(updates[0]?.spiffeId, cart);
  t.same([...(updates[0]?.trustBundles ?? [])], [['cluster.local', [authority.rootPem]]]);
  t.equal(updates[0]?.certificateChainPem.split('BEGIN').length, 3, 'leaf and intermediate, no root');
});

const keyTypes = [
  ['p-384', { asymmetricKeyType: 'ec', asymmetricKeyDetails: { namedCurve: 'secp384r1' } }],
  ['rsa-2048', { asymmetricKeyType: 'rsa', asymmetricKeyDetails: { modulusLength: 2_048 } }],
] as const;
for (const [keyType, key] of keyTypes) {
  t.test(`a key of the kind ${keyType}`, async (t) => {
    const { istiod, problems, sleeps, updates } = await begin(t, { keyType });
    await sleeps(1);
    t.same(problems, []);
    t.match(istiod.requests[0]?.publicKey, key);
    t.equal(updates.length, 1);
  });
}

t.test('what is asked for comes from the options', async (t) => {
  const options = { clusterId: 'west', certSigner: 'issuers.example/one', ttlMs: 3_600_999 };
  const { istiod, sleeps } = await begin(t, options);
  await sleeps(1);
  t.match(istiod.requests[0], {
    clusterId: 'west',
    metadata: { CertSigner: 'issuers.example/one' },
    validitySeconds: 3_600,
  });
});

const renewals = [
  ['half of the life', {}, 0.5, 0.5],
  ['a hundredth earlier at the most', {}, 1, 0.49],
  ['a hundredth later at the most', {}, 0, 0.51],
  ['another share of the life that is left', { graceRatio: 0.2, graceRatioJitter: 0 }, 1, 0.8],
] as const;
for (const [when, options, draw, share] of renewals) {
  t.test(`renews after ${when}, with the token of then and a new key`, async (t) => {
    const life = 40 * 60_000;
    const { files, istiod, sleeps, updates, waits } = await begin(
      t,
      { ...options, random: () => draw },
      (request, _, authority) => issue(authority, request, cart, { notAfter: Date.now() + life + 1_000 }),
    );
    await sleeps(1);
    t.ok(Math.abs((waits[0] ?? 0) - life * share) < 3_000, `${waits[0]} of ${life}`);
    writeFileSync(files.tokenFile, tokenFor('system:serviceaccount:shop:cart:again'.slice(0, 31)));
    await sleeps(2);
    t.equal(istiod.requests.length, 2);
    t.not(
      istiod.requests[1]?.publicKey.export({ format: 'jwk' }).x,
      istiod.requests[0]?.publicKey.export({ format: 'jwk' }).x,
    );
    t.not(updates[1]?.privateKeyPem, updates[0]?.privateKeyPem);
  });
}

t.test('a new root at the end of the chain is a new trust bundle', async (t) => {
  const next = makeAuthority({ name: 'next' });
  const { authority, sleeps, updates } = await begin(t, {}, (request, index, authority) =>
    issue(authority, request, cart, { roots: index === 0 ? [authority.rootPem] : [authority.rootPem, next.rootPem] }),
  );
  await sleeps(2);
  t.same(
    updates.map(({ trustBundles }) => trustBundles.get('cluster.local')),
    [[authority.rootPem], [authority.rootPem, next.rootPem]],
  );
});

t.test('a chain in one element, and the root in the middle of it, as older releases send it', async (t) => {
  const { problems, sleeps, updates } = await begin(t, {}, (request, _, authority) => {
    const [leaf = '', intermediate = '', root = ''] = issue(authority, request, cart);
    return [leaf, `${intermediate}${root}`.trimEnd(), root.trimEnd()];
  });
  await sleeps(1);
  t.same(problems, []);
  t.equal(updates[0]?.certificateChainPem.split('BEGIN').length, 3);
});

for (const code of [
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'ABORTED',
  'INTERNAL',
  'UNAVAILABLE',
] as const) {
  t.test(`${code} is tried again`, async (t) => {
    const { problems, sleeps, updates, waits } = await begin(t, {}, (request, index, authority) =>
      index < 2 ? { code: status[code], details: 'later' } : issue(authority, request, cart),
    );
    await sleeps(3);
    t.same(waits.slice(0, 2), [100, 200]);
    t.same(problems, [], 'nobody has to hear of it');
    t.equal(updates.length, 1);
  });
}

t.test('five tries within two seconds, then it says so and goes on, ever more patiently', async (t) => {
  const { problems, sleeps, waits } = await begin(t, {}, () => ({ code: status.UNAVAILABLE, details: 'not\nnow' }));
  await sleeps(4);
  t.same(problems, []);
  await sleeps(9);
  t.same(waits, [100, 200, 400, 800, 1_600, 3_200, 6_000, 6_000, 6_000], 'without a certificate it looks often');
  t.same(problems[0], 'lost: ISTIOD is out of reach: UNAVAILABLE: not?now');
});

t.test('with a certificate it leaves istiod alone for a minute, or a tenth of what is left', async (t) => {
  let good = true;
  const { clock, sleeps, waits } = await begin(t, {}, (request, _, authority) =>
    good
      ? issue(authority, request, cart, { notAfter: Date.now() + 24 * hour })
      : { code: status.UNAVAILABLE, details: '' },
  );
  await sleeps(1);
  good = false;
  // The first waits are those until renewal, an hour at a time.
  await sleeps(12);
  t.ok(waits.every((wait) => wait <= hour));
  await sleeps(30);
  t.same(waits.slice(-3), [60_000, 60_000, 60_000]);
  clock.jump(11.75 * hour);
  const before = waits.length;
  await sleeps(before + 2);
  t.ok((waits.at(-1) ?? 0) < 60_000, `${waits.at(-1)}`);
});

t.test('the wait varies by a tenth', async (t) => {
  const { sleeps, waits } = await begin(t, { random: () => 1 }, () => ({ code: status.UNAVAILABLE, details: '' }));
  await sleeps(2);
  t.same(waits.map(Math.round), [110, 220]);
});

const refusals = [
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'INVALID_ARGUMENT',
  'UNIMPLEMENTED',
  'FAILED_PRECONDITION',
] as const;
for (const code of refusals) {
  t.test(`${code} is said at once, and not repeated within the second`, async (t) => {
    const { problems, sleeps, waits } = await begin(t, {}, () => ({
      code: status[code],
      details: 'request authenticate failure',
    }));
    await sleeps(1);
    t.same(problems, [`rejected: ISTIOD refused: ${code}: request authenticate failure`]);
    t.same(waits, [1_600]);
  });
}

const unusable: readonly (readonly [
  string,
  (request: IstiodRequest, authority: TestAuthority) => IstiodAnswer,
  RegExp,
])[] = [
  [
    'another identity',
    (request, authority) => issue(authority, request, `${cart}2`),
    /expected spiffe:\/\/cluster\.local\/ns\/shop\/sa\/cart, the certificate says .*cart2/,
  ],
  [
    'no root',
    (request, authority) => issue(authority, request, cart).slice(0, 1),
    /answered 1 certificates, expected a chain and its root/,
  ],
  ['nothing', () => [], /answered 0 certificates/],
  [
    'a root that did not sign it',
    (request, authority) => issue(authority, request, cart, { roots: [makeAuthority().rootPem] }),
    /does not chain to a root/,
  ],
  [
    'text in place of the root',
    (request, authority) => issue(authority, request, cart, { roots: ['hello'] }),
    /the root of istiod: no certificate in it/,
  ],
  [
    'a certificate for another key',
    (request, authority) => issue(authority, { ...request, publicKey: authority.root.key }, cart),
    /the private key is not that of the certificate/,
  ],
  [
    'an expired certificate',
    (request, authority) => issue(authority, request, cart, { notAfter: Date.now() - 60_000 }),
    /expired/,
  ],
  [
    'one that is not valid yet',
    (request, authority) =>
      issue(authority, request, cart, { notBefore: Date.now() + 20 * hour, notAfter: Date.now() + 22 * hour }),
    /valid from/,
  ],
  ['bytes that are no message', () => Buffer.from('ffff', 'hex'), /answer that cannot be read/],
  [
    'more than anybody sends',
    (request, authority) => Array.from({ length: 17 }, () => issue(authority, request, cart)[0] ?? ''),
    /more than 16 elements/,
  ],
  ['more than a mebibyte', () => Buffer.alloc(1_100_000), /RESOURCE_EXHAUSTED/],
];
for (const [what, answer, reason] of unusable) {
  t.test(`refuses ${what}, and keeps what it has`, async (t) => {
    let bad = false;
    const { problems, sleeps, updates } = await begin(t, {}, (request, _, authority) =>
      bad ? answer(request, authority) : issue(authority, request, cart),
    );
    await sleeps(1);
    bad = true;
    await sleeps(8);
    t.equal(updates.length, 1);
    t.match(problems[0], reason);
    bad = false;
    const before = updates.length;
    await sleeps(9);
    t.ok(updates.length > before, 'and takes the next good one');
  });
}

const strangers: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['another name', ['istiod.elsewhere.svc'], /Hostname\/IP does not match|altnames/i],
  ['no DNS name', [], /no DNS name/],
];
for (const [what, names, reason] of strangers) {
  t.test(`tells no token to a server with ${what} in its certificate`, async (t) => {
    const { istiod, problems, sleeps } = await begin(t, {}, undefined, names);
    await sleeps(5);
    t.match(problems[0], reason);
    t.equal(istiod.requests.length, 0);
  });
}

t.test('tells no token to a server of another root; takes it once the root file has its root', async (t) => {
  const trustRoot = join(folderOf(t, { 'other.pem': makeAuthority().rootPem }), 'other.pem');
  const { authority, istiod, problems, sleeps, updates } = await begin(t, {
    trustRoot,
  });
  await sleeps(5);
  t.match(problems[0], /lost: ISTIOD is out of reach: UNAVAILABLE: .*certificate/);
  t.equal(istiod.requests.length, 0);
  writeFileSync(trustRoot, authority.rootPem);
  await sleeps(6);
  t.equal(updates.length, 1, 'each try reads the root anew');
});

t.test('tells no token to a server of another root, whatever NODE_TLS_REJECT_UNAUTHORIZED says', async (t) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });
  for (const options of [{ trustRoot: makeAuthority({ name: 'other' }).rootPem }, { serverName: 'other.example' }]) {
    const { istiod, sleeps, updates } = await begin(t, options);
    await sleeps(2);
    t.equal(istiod.requests.length, 0);
    t.equal(updates.length, 0);
  }
});

t.test('a mount that is not there yet is waited for', async (t) => {
  const tokenFile = join(folderOf(t), 'later');
  const { clock, istiod, problems, sleeps, until, updates } = await begin(t, { tokenFile });
  await sleeps(5);
  t.match(problems, [/lost: the token cannot be read: ENOENT/]);
  t.equal(istiod.requests.length, 0);
  writeFileSync(tokenFile, cartToken);
  clock.advance(1_600);
  await until(() => updates.length === 1);
});

for (const [what, content] of [
  ['an empty file', ' \n'],
  ['spaces', 'two tokens'],
  ['control characters', 'a\u0000b'],
] as const) {
  t.test(`a token file with ${what} is named, and its content is not`, async (t) => {
    const { istiod, problems, sleeps } = await begin(t, {
      tokenFile: join(folderOf(t, { token: content }), 'token'),
    });
    await sleeps(5);
    t.equal(istiod.requests.length, 0);
    t.match(problems[0], /the token cannot be used/);
    t.notMatch(problems[0], /two tokens|a.b$/);
  });
}

t.test('without its token file a process renews with the certificate that it has', async (t) => {
  const { files, istiod, problems, sleeps, updates } = await begin(t);
  await sleeps(1);
  rmSync(files.tokenFile);
  istiod.stop();
  await istiod.start(true);
  await sleeps(2);
  t.match(istiod.requests[1], { token: undefined, client: `URI:${cart}` });
  t.equal(updates.length, 2);
  t.same(problems, []);
});

const identities: readonly (readonly [string, Partial<IstiodSourceOptions>, string])[] = [
  ['the token', {}, cart],
  [
    'variables',
    { env: { TRUST_DOMAIN: 'td.example', POD_NAMESPACE: 'web', SERVICE_ACCOUNT: 'front' } },
    'spiffe://td.example/ns/web/sa/front',
  ],
  [
    'the option',
    { env: { POD_NAMESPACE: 'web' }, spiffeId: 'spiffe://cluster.local/ns/a/sa/b' },
    'spiffe://cluster.local/ns/a/sa/b',
  ],
];
for (const [where, options, spiffeId] of identities) {
  t.test(`who it expects to be comes from ${where}`, async (t) => {
    const { problems, sleeps, updates } = await begin(t, options, (request, _, authority) =>
      issue(authority, request, spiffeId),
    );
    await sleeps(1);
    t.same(problems, []);
    t.equal(updates[0]?.spiffeId, spiffeId);
  });
}

t.test(
  'a token that does not say who it is for, with nothing else that does, is no reason to take anything',
  async (t) => {
    const { istiod, problems, sleeps } = await begin(t, { tokenFile: join(folderOf(t, { token: 'opaque' }), 'token') });
    await sleeps(1);
    t.match(problems, [/rejected: set POD_NAMESPACE and SERVICE_ACCOUNT, or the option spiffeId/]);
    t.equal(istiod.requests.length, 0);
  },
);

t.test('further roots, also when their file changes, without another certificate', async (t) => {
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const [old, next] = [makeAuthority({ name: 'old' }), makeAuthority({ name: 'next' })];
  const folder = folderOf(t, { 'own.pem': old.rootPem });
  const own = join(folder, 'own.pem');
  const { authority, istiod, problems, sleeps, updates } = await begin(t, {
    extraRoots: { 'cluster.local': own, 'partner.example': partner.rootPem },
  });
  await sleeps(2);
  t.equal(updates.length, 1);
  t.same(Object.fromEntries(updates[0]?.trustBundles ?? []), {
    'cluster.local': [authority.rootPem, old.rootPem],
    'partner.example': [partner.rootPem],
  });
  writeFileSync(own, old.rootPem + next.rootPem);
  await sleeps(3);
  t.equal(updates.length, 2);
  t.same(updates[1]?.trustBundles.get('cluster.local'), [authority.rootPem, old.rootPem, next.rootPem]);
  t.equal(updates[1]?.privateKeyPem, updates[0]?.privateKeyPem);
  t.equal(istiod.requests.length, 1);
  writeFileSync(own, 'half of a fi');
  await sleeps(4);
  t.match(problems, [/extraRoots of cluster\.local: no certificate in it/]);
  t.equal(updates.length, 2);
});

t.test('a server that does not answer is given up after the limit, and asked again', async (t) => {
  const { clock, istiod, problems, until, updates, waits } = await begin(t, {}, (request, index, authority) =>
    index === 0 ? 'hang' : issue(authority, request, cart),
  );
  await until(() => istiod.requests.length === 1);
  clock.advance(limitMs);
  await until(() => waits.length === 1);
  clock.advance(waits[0] ?? 0);
  await until(() => updates.length === 1);
  t.same(problems, []);
});

t.test('trouble with further roots is over when their file is as it was', async (t) => {
  const old = makeAuthority({ name: 'old' });
  const folder = folderOf(t, { 'own.pem': old.rootPem });
  const own = join(folder, 'own.pem');
  const { problems, sleeps, updates } = await begin(t, { extraRoots: { 'cluster.local': own } });
  await sleeps(2);
  writeFileSync(own, 'half of a fi');
  await sleeps(3);
  t.equal(problems.length, 1);
  t.equal(updates.length, 1);
  writeFileSync(own, old.rootPem);
  await sleeps(4);
  t.equal(updates.length, 2, 'an update is how a sink hears that all is well');
  await sleeps(5);
  t.equal(updates.length, 2);
});

t.test('a broken file of further roots does not hold up a renewal', async (t) => {
  const old = makeAuthority({ name: 'old' });
  const folder = folderOf(t, { 'own.pem': old.rootPem });
  const own = join(folder, 'own.pem');
  const { authority, clock, problems, sleeps, until, updates, waits } = await begin(t, {
    extraRoots: { 'cluster.local': own },
  });
  await sleeps(2);
  writeFileSync(own, 'half of a fi');
  const before = waits.length;
  clock.advance(hour / 2);
  await until(() => waits.length > before);
  t.equal(updates.length, 2);
  t.not(updates[1]?.privateKeyPem, updates[0]?.privateKeyPem);
  t.same(updates[1]?.trustBundles.get('cluster.local'), [authority.rootPem, old.rootPem], 'the last good ones');
  t.match(problems, [/extraRoots of cluster\.local: no certificate in it/]);
});

t.test('further roots that were never there are waited for, before istiod is asked', async (t) => {
  const old = makeAuthority({ name: 'old' });
  const own = join(folderOf(t), 'own.pem');
  const { istiod, problems, sleeps, updates } = await begin(t, { extraRoots: { 'cluster.local': own } });
  await sleeps(5);
  t.match(problems, [/^lost: extraRoots of cluster\.local cannot be read: ENOENT/]);
  t.equal(istiod.requests.length, 0);
  writeFileSync(own, old.rootPem);
  await sleeps(6);
  t.equal(updates.length, 1);
});

t.test('what is given up before istiod is asked does not wait for its answer', async (t) => {
  const authority = makeAuthority();
  const istiod = await fakeIstiod(authority, () => 'hang');
  t.teardown(() => istiod.stop());
  const clock = fakeClock();
  const abort = new AbortController();
  const source = istiodSource({ ...mounts(t, authority), address: istiod.address, serverName, clock, env: {} });
  const ignore = (): void => {};
  const running = source.run({ update: ignore, reject: ignore, lost: ignore }, abort.signal);
  abort.abort();
  await running;
  t.equal(istiod.requests.length, 0, 'no token is sent');
  t.equal(clock.pending(), 0);
});
