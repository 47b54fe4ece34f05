import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Credentials } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { identitySourceSuite } from '../../../test/suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../../../test/support/certificates.ts';
import { makeCrl } from '../../../test/support/crls.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { secretType } from '../src/discovery.ts';
import { type SdsSourceOptions, sdsSource } from '../src/index.ts';
import { certificateSecret, federatedSecret, rootsSecret } from '../src/secret.ts';
import { message, writeBytes, writeMessage, writeString } from '../src/wire.ts';
import { fakeAgent } from './support/fake-agent.ts';
import { socketFolder } from './support/socket-folder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hour = 3_600_000;
const limitMs = 12_345;

identitySourceSuite(t, {
  name: 'SDS',
  isLimit: (delayMs) => delayMs === limitMs,
  make: async (t, clock) => {
    const path = join(socketFolder(t), 'socket');
    const authority = makeAuthority();
    const agent = await fakeAgent(path);
    let askedBefore = 0;
    const secrets = ({ certificateChainPem, privateKeyPem }: Credentials, extraRoots: readonly string[] = []) => [
      certificateSecret('default', certificateChainPem, privateKeyPem),
      rootsSecret('ROOTCA', [authority.rootPem, ...extraRoots]),
    ];
    return {
      source: sdsSource({ path, clock, timeoutMs: limitMs, random: () => 0.5 }),
      spiffeId: web,
      issue: async ({ extraRoots, notAfter } = {}) => {
        const times = { notBefore: clock.wallNow() - 2 * hour, notAfter: notAfter ?? clock.wallNow() + hour };
        agent.set(secrets(authority.issue(web, times), extraRoots));
      },
      mismatch: async () => agent.set(secrets({ ...authority.issue(web), privateKeyPem: keyPem(makeKey()) })),
      garble: async () => agent.set(Buffer.from('ffffffff', 'hex')),
      cutOff: async () => agent.stop(),
      reconnect: () => agent.start(),
      hang: async () => {
        agent.set(undefined);
        askedBefore = agent.requests.length;
      },
      asked: () => agent.requests.length > askedBefore,
      connections: () => agent.streams(),
      close: async () => agent.stop(),
    };
  },
});

/** A source beside a fake agent, with what it tells. */
async function begin(t: Test, options: Partial<SdsSourceOptions> = {}) {
  const path = join(socketFolder(t), 'socket');
  const agent = await fakeAgent(path);
  const clock = fakeClock();
  const logger = recordingLogger();
  const updates: Credentials[] = [];
  const problems: string[] = [];
  const abort = new AbortController();
  const source = sdsSource({ path, clock, logger, timeoutMs: limitMs, random: () => 0.5, ...options });
  const running = source.run(
    {
      update: (credentials) => void updates.push(credentials),
      reject: (problem) => void problems.push(`rejected: ${problem.message.replaceAll(path, 'SOCKET')}`),
      lost: (reason) => void problems.push(`lost: ${reason.message.replaceAll(path, 'SOCKET')}`),
    },
    abort.signal,
  );
  const until = async (reached: () => boolean): Promise<void> => {
    const limit = performance.now() + 20_000;
    while (!reached()) {
      if (performance.now() > limit)
        throw new Error(
          `waited in vain, ${clock.pending()} timers, ${agent.streams()} streams, ${agent.requests.length} requests; ${updates.length} updates; ${problems.join('; ')}`,
        );
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  t.teardown(async () => {
    abort.abort();
    await running;
    agent.stop();
  });
  return { agent, clock, logger, updates, problems, source, until, path };
}

t.test('asks for both secrets on one stream, with a node, and accepts what it gets', async (t) => {
  const { agent, path, problems, source, until, updates } = await begin(t);
  const { certificateChainPem, privateKeyPem, rootPem } = { ...makeAuthority(), ...makeAuthority().issue(web) };
  await until(() => agent.requests.length === 1);
  t.equal(source.name, `sds:${path}`);
  t.same(agent.requests[0], {
    versionInfo: '',
    nodeId: 'inmesh',
    resourceNames: ['default', 'ROOTCA'],
    typeUrl: secretType,
    responseNonce: '',
  });
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem)]);
  await until(() => agent.requests.length === 2);
  t.match(agent.requests[1], { versionInfo: 'v1', responseNonce: 'nonce-1', errorDetail: undefined });
  t.equal(updates.length, 0, 'a certificate without roots is half of an identity');
  agent.set([rootsSecret('ROOTCA', [rootPem])]);
  await until(() => agent.requests.length === 3);
  t.match(agent.requests[2], { versionInfo: 'v2', responseNonce: 'nonce-2', nodeId: 'inmesh' });
  t.same(problems, []);
});

t.test('a new certificate waits for the roots that it chains to, and not for ever', async (t) => {
  const { agent, clock, until, updates } = await begin(t);
  const [first, second] = [makeAuthority(), makeAuthority()];
  const send = (authority: typeof first, what: 'default' | 'ROOTCA', roots = [authority.rootPem]) => {
    const { certificateChainPem, privateKeyPem } = authority.issue(web);
    agent.set([
      what === 'default' ? certificateSecret(what, certificateChainPem, privateKeyPem) : rootsSecret(what, roots),
    ]);
  };
  await until(() => agent.requests.length === 1);
  send(first, 'default');
  send(first, 'ROOTCA');
  await until(() => updates.length === 1);
  send(second, 'default');
  await until(() => agent.requests.length === 4);
  t.equal(updates.length, 1, 'peers with the old root would refuse it');
  send(second, 'ROOTCA', [first.rootPem, second.rootPem]);
  await until(() => updates.length === 2);
  t.same(updates[1]?.trustBundles.get('cluster.local')?.length, 2);

  send(makeAuthority(), 'default');
  await until(() => agent.requests.length === 6);
  t.equal(updates.length, 2);
  clock.advance(1_000);
  t.equal(updates.length, 3, 'a server that keeps such roots for itself does not hold up a renewal');
});

t.test('the root at the end of the chain, as Istio sends it, is not sent on', async (t) => {
  const { agent, until, updates } = await begin(t);
  const authority = makeAuthority();
  const { certificateChainPem } = authority.issue(web);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  const issued = authority.issue(web, { subjectKey: rsa });
  const pkcs1 = rsa.export({ type: 'pkcs1', format: 'pem' }).toString();
  await until(() => agent.requests.length === 1);
  agent.set([
    certificateSecret('default', issued.certificateChainPem + authority.rootPem, pkcs1),
    rootsSecret('ROOTCA', [authority.rootPem]),
  ]);
  await until(() => updates.length === 1);
  t.equal(updates[0]?.certificateChainPem, issued.certificateChainPem);
  t.equal(certificateChainPem.split('BEGIN').length, 3);
  t.match(updates[0]?.privateKeyPem, /^-----BEGIN PRIVATE KEY/, 'PKCS#8, whatever it came as');
});

t.test('roots by trust domain, from the SPIFFE validator', async (t) => {
  const { agent, until, updates } = await begin(t, { roots: 'ALL' });
  const [own, other] = [makeAuthority(), makeAuthority({ trustDomain: 'partner.example' })];
  const lists = makeCrl(other.root) + makeCrl(other.signer);
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  await until(() => agent.requests.length === 1);
  t.same(agent.requests[0]?.resourceNames, ['default', 'ALL']);
  agent.set([
    certificateSecret('default', certificateChainPem, privateKeyPem),
    federatedSecret(
      'ALL',
      new Map([
        ['cluster.local', [own.rootPem]],
        ['partner.example', [other.rootPem]],
      ]),
      new Map([['partner.example', [lists]]]),
    ),
  ]);
  await until(() => updates.length === 1);
  t.same(
    [...(updates[0]?.trustBundles ?? [])],
    [
      ['cluster.local', [own.rootPem]],
      ['partner.example', [other.rootPem]],
    ],
  );
  t.same([...(updates[0]?.crlsByTrustDomain ?? [])], [['partner.example', [lists]]]);
});

t.test('as many trust domains as a Workload API may have are taken by SDS as well', async (t) => {
  const { agent, problems, until, updates } = await begin(t, { roots: 'ALL' });
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  const others = Array.from({ length: 1_000 }, (_, i) => [`domain-${i}.example`, [own.rootPem]] as const);
  const roots = new Map([['cluster.local', [own.rootPem]] as const, ...others]);
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), federatedSecret('ALL', roots)]);
  await until(() => updates.length + problems.length === 1);
  t.same(problems, []);
  t.equal(updates[0]?.trustBundles.size, 1_001);
});

t.test('roots that come without a trust domain speak for those that the option names', async (t) => {
  const { agent, until, updates } = await begin(t, { trustDomains: ['old.example'] });
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), rootsSecret('ROOTCA', [own.rootPem])]);
  await until(() => updates.length === 1);
  t.same([...(updates[0]?.trustBundles.keys() ?? [])], ['cluster.local', 'old.example']);
});

t.test('revocation lists beside the roots count for the trust domains of the roots', async (t) => {
  const { agent, problems, until, updates } = await begin(t, { trustDomains: ['old.example'] });
  const own = makeAuthority();
  const crl = makeCrl(own.root) + makeCrl(own.signer);
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  await until(() => agent.requests.length === 1);
  agent.set([
    certificateSecret('default', certificateChainPem, privateKeyPem),
    rootsSecret('ROOTCA', [own.rootPem], [crl]),
  ]);
  await until(() => updates.length === 1);
  t.same(
    [...(updates[0]?.crlsByTrustDomain ?? [])],
    [
      ['cluster.local', [crl]],
      ['old.example', [crl]],
    ],
  );
  agent.set([rootsSecret('ROOTCA', [own.rootPem])]);
  await until(() => updates.length === 2);
  t.equal(updates[1]?.crlsByTrustDomain, undefined, 'roots without lists end them');
  agent.set([rootsSecret('ROOTCA', [crl, own.rootPem])]);
  await until(() => updates.length === 3);
  t.same(updates[2]?.crlsByTrustDomain?.get('cluster.local'), [crl], 'among the roots, as Envoy takes them too');
  t.same(updates[2]?.trustBundles.get('cluster.local'), [own.rootPem]);
  t.same(problems, []);
});

t.test('roots from a file that the secret names', async (t) => {
  const { agent, problems, until, updates } = await begin(t);
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  const file = join(t.testdir(), 'roots.pem');
  writeFileSync(file, own.rootPem);
  const fileRoots = (path: string) =>
    secret('ROOTCA', 4, (context) => writeMessage(context, 1, (ca) => writeString(ca, 1, path)));
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), fileRoots(file)]);
  await until(() => updates.length === 1);
  t.same(updates[0]?.trustBundles.get('cluster.local'), [own.rootPem]);
  agent.set([fileRoots(`${file}.gone`)]);
  await until(() => agent.requests.length === 3);
  t.match(problems, [/ROOTCA.*trusted_ca\.filename cannot be read.*ENOENT/]);
});

const secret = (name: string, field: number, write: Parameters<typeof writeMessage>[2]) => ({
  typeUrl: secretType,
  value: message((writer) => {
    writeString(writer, 1, name);
    writeMessage(writer, field, write);
  }),
});
const context = (field: number) =>
  secret('ROOTCA', 4, (writer) => {
    writeMessage(writer, 1, (ca) => writeBytes(ca, 2, Buffer.from(makeAuthority().rootPem)));
    writeMessage(writer, field, () => {});
  });
const certificateWith = (field: number) => {
  const { certificateChainPem, privateKeyPem } = makeAuthority().issue(web);
  return secret('default', 2, (writer) => {
    writeMessage(writer, 1, (chain) => writeBytes(chain, 2, Buffer.from(certificateChainPem)));
    writeMessage(writer, 2, (key) => writeBytes(key, 2, Buffer.from(privateKeyPem)));
    writeMessage(writer, field, () => {});
  });
};
const refusedSecrets = [
  ['verify_certificate_hash', context(2), /validation_context\.verify_certificate_hash: not supported/],
  ['verify_certificate_spki', context(3), /validation_context\.verify_certificate_spki/],
  ['match_typed_subject_alt_names', context(15), /validation_context\.match_typed_subject_alt_names/],
  ['max_verify_depth', context(16), /validation_context\.max_verify_depth/],
  ['system roots', context(17), /validation_context\.system_root_certs/],
  ['a validator of another kind', context(12), /validation_context\.custom_validator_config/],
  ['a field that nobody knows yet', context(99), /validation_context\.99/],
  ['a key that is encrypted', certificateWith(3), /tls_certificate\.password/],
  ['a key elsewhere', certificateWith(6), /tls_certificate\.private_key_provider/],
  ['PKCS#12', certificateWith(8), /tls_certificate\.pkcs12/],
  ['tickets in place of roots', secret('ROOTCA', 3, () => {}), /session_ticket_keys/],
  ['a generic secret', secret('default', 5, () => {}), /generic_secret/],
  [
    'nothing at all',
    { typeUrl: secretType, value: message((w) => writeString(w, 1, 'default')) },
    /expected tls_certificate/,
  ],
  [
    'revocation lists for the SPIFFE validator, which does not say whose they are',
    secret('ROOTCA', 4, (w) => writeMessage(w, 7, (crl) => writeString(crl, 3, 'x'))),
    /validation_context\.crl is supported beside trusted_ca only/,
  ],
  ['no roots', secret('ROOTCA', 4, () => {}), /expected validation_context with trusted_ca/],
  ['roots that are none', rootsSecret('ROOTCA', ['hello']), /no certificate in it/],
  [
    'a trust domain that is none',
    federatedSecret('ROOTCA', new Map([['a/b', [makeAuthority().rootPem]]])),
    /no trust domain/,
  ],
  [
    'an environment variable',
    secret('ROOTCA', 4, (w) => writeMessage(w, 1, (ca) => writeString(ca, 4, 'HOME'))),
    /environment_variable/,
  ],
  [
    'another type',
    { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster', value: Buffer.alloc(0) },
    /Secret, not/,
  ],
] as const;

for (const [name, resource, reason] of refusedSecrets) {
  t.test(`refuses ${name}, towards the server as well`, async (t) => {
    const { agent, problems, until, updates } = await begin(t);
    await until(() => agent.requests.length === 1);
    agent.set([resource]);
    await until(() => agent.requests.length === 2);
    t.match(problems, [reason]);
    t.equal(problems.length, 1);
    t.match(agent.requests[1], {
      versionInfo: '',
      responseNonce: 'nonce-1',
      errorDetail: { code: status.INVALID_ARGUMENT, message: reason },
    });
    t.equal(updates.length, 0);
  });
}

t.test('fields that would only allow more have no effect, and are named in the log once', async (t) => {
  const { agent, logger, problems, until, updates } = await begin(t);
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  const lenient = secret('ROOTCA', 4, (writer) => {
    writeMessage(writer, 1, (ca) => writeBytes(ca, 2, Buffer.from(own.rootPem)));
    writer.tag(8, 0).bool(true);
    writer.tag(10, 0).int32(1);
  });
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), lenient]);
  agent.set([lenient]);
  await until(() => agent.requests.length === 3);
  t.same(problems, []);
  t.equal(updates.length, 2);
  t.same(
    logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields),
    [
      {
        secret: 'ROOTCA',
        fields: ['validation_context.allow_expired_certificate', 'validation_context.trust_chain_verification'],
      },
    ],
  );
});

t.test('the version that was accepted last goes along when the stream is opened again', async (t) => {
  const { agent, clock, problems, until, updates } = await begin(t);
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), rootsSecret('ROOTCA', [own.rootPem])]);
  await until(() => updates.length === 1 && agent.requests.length === 2);
  agent.set([rootsSecret('ROOTCA', ['none'])]);
  await until(() => agent.requests.length === 3);
  t.match(
    agent.requests[2],
    { versionInfo: 'v1', responseNonce: 'nonce-2', errorDetail: {} },
    'refused: the old version',
  );
  agent.fail(status.UNAVAILABLE, 'restarting');
  await until(() => {
    clock.advance(50);
    return agent.requests.length === 4;
  });
  t.equal(problems.length, 1, 'a server may restart');
  t.match(agent.requests[3], { versionInfo: 'v1', responseNonce: '' });
});

t.test('says which secret does not come, and opens the stream again', async (t) => {
  const { agent, clock, problems, until } = await begin(t);
  const { certificateChainPem, privateKeyPem } = makeAuthority().issue(web);
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem)]);
  await until(() => agent.requests.length === 2);
  clock.advance(limitMs);
  await until(() => problems.length === 1 && clock.pending() > 0);
  t.equal(problems[0], `lost: SOCKET has not sent ROOTCA within ${limitMs} ms`);
  clock.advance(50);
  await until(() => agent.requests.length === 3);
});

const endings = [
  [
    status.INVALID_ARGUMENT,
    'workload is not authorized',
    'rejected: SOCKET refused: INVALID_ARGUMENT: workload is not authorized',
  ],
  [status.PERMISSION_DENIED, 'no identity issued', 'rejected: SOCKET refused: PERMISSION_DENIED: no identity issued'],
  [status.UNIMPLEMENTED, 'no', 'rejected: SOCKET refused: UNIMPLEMENTED: no'],
  [status.UNKNOWN, 'failed to\ngenerate', 'lost: SOCKET is out of reach: UNKNOWN: failed to?generate'],
] as const;
for (const [code, details, said] of endings) {
  t.test(`a stream that ends with ${status[code]} is opened again`, async (t) => {
    const { agent, clock, problems, until } = await begin(t);
    await until(() => agent.requests.length === 1);
    agent.fail(code, details);
    await until(() => problems.length === 1 && clock.pending() > 0);
    t.same(problems, [said]);
    clock.advance(10_000);
    await until(() => agent.requests.length === 2);
  });
}

t.test('options that can never work are refused', async (t) => {
  const cases: readonly (readonly [SdsSourceOptions, RegExp])[] = [
    [{ path: '' }, /path: expected the path of a socket/],
    [{ certificate: 'ROOTCA' }, /two different names/],
    [{ roots: '' }, /two different names/],
    [{ nodeId: '' }, /nodeId/],
    [{ timeoutMs: 0 }, /timeoutMs/],
    [{ trustDomains: ['spiffe://partner.example'] }, /trustDomains: expected a trust domain, not "spiffe:/],
    [{ trustDomains: ['partner.example/web'] }, /trustDomains: expected a trust domain, not "partner/],
  ];
  for (const [options, message] of cases) {
    t.throws(() => sdsSource(options), { code: 'ERR_MESH_OPTION_INVALID', message });
  }
});

t.test('the socket is where Istio has it', async (t) => {
  t.equal(sdsSource().name, 'sds:/var/run/secrets/workload-spiffe-uds/socket');
  process.env['WORKLOAD_IDENTITY_SOCKET_FILE'] = 'other';
  t.teardown(() => delete process.env['WORKLOAD_IDENTITY_SOCKET_FILE']);
  t.equal(sdsSource().name, 'sds:/var/run/secrets/workload-spiffe-uds/other');
  process.env['WORKLOAD_IDENTITY_SOCKET_FILE'] = '../other';
  t.throws(() => sdsSource(), /WORKLOAD_IDENTITY_SOCKET_FILE: expected the name of a file/);
});

t.test('a stream that is silent when a renewal is overdue is opened again', async (t) => {
  const { agent, clock, problems, until, updates } = await begin(t);
  const own = makeAuthority();
  const times = { notBefore: clock.wallNow(), notAfter: clock.wallNow() + hour };
  const { certificateChainPem, privateKeyPem } = own.issue(web, times);
  await until(() => agent.requests.length === 1);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), rootsSecret('ROOTCA', [own.rootPem])]);
  await until(() => updates.length === 1 && agent.requests.length === 2);
  agent.set(undefined);
  agent.fail(status.UNAVAILABLE, 'restarting');
  await until(() => {
    clock.advance(50);
    return agent.requests.length === 3;
  });
  clock.advance(hour / 2);
  t.equal(agent.streams(), 1, 'a server may have nothing new');
  clock.advance(hour / 4 + limitMs);
  await until(() => problems.length === 1 && clock.pending() > 0);
  t.equal(problems[0], 'lost: SOCKET has sent no new certificate, though it is time');
  clock.advance(10_000);
  await until(() => agent.requests.length === 4);
});

t.test('a stream that always ends after its answer is opened with pauses that grow', async (t) => {
  const { agent, clock, until } = await begin(t);
  const own = makeAuthority();
  const { certificateChainPem, privateKeyPem } = own.issue(web);
  agent.set([certificateSecret('default', certificateChainPem, privateKeyPem), rootsSecret('ROOTCA', [own.rootPem])]);
  const pauses: number[] = [];
  for (let round = 0; round < 6; round++) {
    const asked = agent.requests.length;
    await until(() => agent.requests.some(({ responseNonce }, i) => i >= asked - 1 && responseNonce !== ''));
    await until(() => agent.streams() === 1 && agent.requests.length % 2 === 0);
    agent.fail(status.UNAVAILABLE, 'flapping');
    const next = agent.requests.length + 1;
    let waited = 0;
    await until(() => {
      if (agent.requests.length >= next) return true;
      clock.advance(1);
      waited++;
      return false;
    });
    pauses.push(waited);
  }
  t.ok((pauses.at(-1) as number) > 500, pauses.join(', '));
});
