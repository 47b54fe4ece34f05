import t from 'tap';
import { readEnvironment } from '../src/environment.ts';
import { subjectOf } from '../src/files.ts';
import { type IstiodSourceOptions, istiodSource } from '../src/index.ts';
import { readCertificateResponse, writeCertificateRequest } from '../src/messages.ts';
import { resolveSettings } from '../src/options.ts';

t.test('in a pod with the usual mounts nothing has to be said', async (t) => {
  t.equal(istiodSource({ env: {} }).name, 'istiod:istiod.istio-system.svc:15012');
  t.match(resolveSettings({ env: {} }), {
    serverName: 'istiod.istio-system.svc',
    trustRoot: '/var/run/secrets/istio/root-cert.pem',
    tokenFile: '/var/run/secrets/tokens/istio-token',
    trustDomain: 'cluster.local',
    clusterId: 'Kubernetes',
    keyType: 'p-256',
    ttlMs: 86_400_000,
    graceRatio: 0.5,
    graceRatioJitter: 0.01,
  });
});

const variables: readonly (readonly [Readonly<Record<string, string>>, object])[] = [
  [
    { CA_ADDR: 'istiod-west.istio-system.svc:15012' },
    { address: 'istiod-west.istio-system.svc:15012', serverName: 'istiod-west.istio-system.svc' },
  ],
  [
    { ISTIOD_SAN: 'istiod-canary.istio-system.svc' },
    { address: 'istiod.istio-system.svc:15012', serverName: 'istiod-canary.istio-system.svc' },
  ],
  [{ CA_ADDR: 'ca.example:443', ISTIOD_SAN: 'other' }, { serverName: 'ca.example' }],
  [{ CA_ADDR: 'localhost:15012' }, { serverName: 'istiod.istio-system.svc' }],
  [{ CA_ADDR: '' }, { address: 'istiod.istio-system.svc:15012' }],
  [
    { ISTIO_META_CLUSTER_ID: 'west', ISTIO_META_CERT_SIGNER: 'one' },
    { clusterId: 'west', certSigner: 'one' },
  ],
  [{ CA_ROOT_CA: '/etc/root.pem' }, { trustRoot: '/etc/root.pem' }],
  [
    { TRUST_DOMAIN: 'td.example', POD_NAMESPACE: 'shop', SERVICE_ACCOUNT: 'cart' },
    { trustDomain: 'td.example', namespace: 'shop', serviceAccount: 'cart' },
  ],
  [{ SECRET_TTL: '1h30m' }, { ttlMs: 5_400_000 }],
  [{ SECRET_TTL: '0.5h0m1.5s500ms' }, { ttlMs: 1_802_000 }],
  [
    { SECRET_GRACE_PERIOD_RATIO: '.25', SECRET_GRACE_PERIOD_RATIO_JITTER: '0' },
    { graceRatio: 0.25, graceRatioJitter: 0 },
  ],
  [{ ECC_SIGNATURE_ALGORITHM: 'ECDSA' }, { keyType: 'p-256' }],
  [{ ECC_SIGNATURE_ALGORITHM: 'ECDSA', ECC_CURVE: 'P384', WORKLOAD_RSA_KEY_SIZE: '2048' }, { keyType: 'p-384' }],
  [{ WORKLOAD_RSA_KEY_SIZE: '4096' }, { keyType: 'rsa-4096' }],
];
for (const [env, expected] of variables) {
  t.test(`variables of istio-agent: ${JSON.stringify(env)}`, async (t) => {
    t.match(resolveSettings({ env }), expected);
  });
}

t.test('options go before variables', async (t) => {
  const env = { CA_ADDR: 'a.example:1', ISTIOD_SAN: 'b', SECRET_TTL: '1h', WORKLOAD_RSA_KEY_SIZE: '2048' };
  const options: IstiodSourceOptions = { env, address: 'c.example:2', ttlMs: 60_000, keyType: 'p-384' };
  t.match(resolveSettings(options), {
    address: 'c.example:2',
    serverName: 'c.example',
    ttlMs: 60_000,
    keyType: 'p-384',
  });
  t.match(resolveSettings({ env: { ISTIOD_SAN: 'b' }, address: 'c.example:2' }), { serverName: 'c.example' });
});

const wrong: readonly (readonly [IstiodSourceOptions, RegExp])[] = [
  [{ address: 'istiod.istio-system.svc' }, /address: expected host:port, not "istiod\.istio-system\.svc"/],
  [{ address: 'https://istiod:15012' }, /address: expected host:port/],
  [{ address: 'istiod:0' }, /address: expected host:port/],
  [{ address: 'istiod:70000' }, /address: expected host:port/],
  [{ address: '10.0.0.1:15012' }, /serverName: istiod has no address in its certificate; name it, not "10\.0\.0\.1"/],
  [{ address: '[fd00::1]:15012' }, /serverName: .* not "fd00::1"/],
  [{ trustRoot: '' }, /trustRoot/],
  [{ trustRoot: 'SYSTEM' }, /trustRoot: the roots of the system are not supported/],
  [{ spiffeId: 'cart' }, /spiffeId: expected spiffe:\/\/<trust domain>\/<path>, not "cart"/],
  [{ spiffeId: 'spiffe://cluster.local' }, /spiffeId: expected/],
  [{ clusterId: 'two words' }, /clusterId/],
  [{ ttlMs: 10 }, /ttlMs: expected a second to 90 days, not 10/],
  [{ ttlMs: 7_776_001_000 }, /ttlMs/],
  [{ graceRatio: 1 }, /graceRatio/],
  [{ graceRatioJitter: -1 }, /graceRatioJitter/],
  [{ timeoutMs: 0 }, /timeoutMs/],
  [{ keyType: 'dsa' as 'p-256' }, /keyType: expected one of p-256, p-384, rsa-2048/],
  [{ extraRoots: { 'a/b': '' } }, /extraRoots: expected a trust domain, not "a\/b"/],
  [{ env: { SECRET_TTL: 'a day' } }, /SECRET_TTL: expected a duration such as 24h or 1h30m, not "a day"/],
  [{ env: { SECRET_TTL: '24' } }, /SECRET_TTL/],
  [{ env: { SECRET_GRACE_PERIOD_RATIO: 'half' } }, /SECRET_GRACE_PERIOD_RATIO: expected a number, not "half"/],
  [{ env: { ECC_SIGNATURE_ALGORITHM: 'RSA' } }, /ECC_SIGNATURE_ALGORITHM: expected ECDSA/],
  [{ env: { ECC_SIGNATURE_ALGORITHM: 'ECDSA', ECC_CURVE: 'P521' } }, /ECC_CURVE: expected P256 or P384/],
  [{ env: { WORKLOAD_RSA_KEY_SIZE: '1024' } }, /WORKLOAD_RSA_KEY_SIZE: expected 2048, 3072 or 4096/],
  [{ env: { TRUST_DOMAIN: 'Upper' } }, /TRUST_DOMAIN: expected a trust domain, not "Upper"/],
  [{ env: { TRUST_DOMAIN: 'td.example/x' } }, /TRUST_DOMAIN: expected a trust domain/],
  [{ extraRoots: { 'spiffe://td.example': '' } }, /extraRoots: expected a trust domain/],
];
for (const [options, message] of wrong) {
  t.test(`refuses ${JSON.stringify(options)}`, async (t) => {
    t.throws(() => istiodSource({ env: {}, ...options }), { code: 'ERR_MESH_OPTION_INVALID', message });
  });
}

t.test('an empty environment says nothing', async (t) => {
  t.same(readEnvironment({ SECRET_TTL: '', OTHER: 'x' }), {});
});

const claims = (value: unknown): string => `x.${Buffer.from(JSON.stringify(value)).toString('base64url')}.y`;
const subjects: readonly (readonly [string, object | undefined])[] = [
  [claims({ sub: 'system:serviceaccount:shop:cart' }), { namespace: 'shop', serviceAccount: 'cart' }],
  [claims({ sub: 'system:serviceaccount:shop' }), undefined],
  [claims({ sub: 'system:serviceaccount:a/b:cart' }), undefined],
  [claims({ sub: 'somebody' }), undefined],
  [claims({ sub: 7 }), undefined],
  [claims(null), undefined],
  ['opaque', undefined],
  ['', undefined],
];
for (const [token, subject] of subjects) {
  t.test(`who the token ${token.slice(0, 40)} is for`, async (t) => {
    t.same(subjectOf(token), subject);
  });
}

t.test('a request has the field numbers of Istio’s API', async (t) => {
  // csr = 1, validity_duration = 3, metadata = 4 { fields 1 { key 1, value 2 { string_value 3 } } }
  const bytes = writeCertificateRequest({ csr: 'c', validitySeconds: 86_400, metadata: { CertSigner: 's' } });
  t.equal(
    bytes.toString('hex'),
    `0a0163${'1880a305'}2213${'0a11'}0a0a${Buffer.from('CertSigner').toString('hex')}1203${'1a0173'}`,
  );
  t.equal(writeCertificateRequest({ csr: 'c', validitySeconds: 1, metadata: {} }).toString('hex'), '0a01631801');
});

t.test('an answer is read, whatever else is in it', async (t) => {
  t.same(readCertificateResponse(Buffer.from('0a0161100712017a0a0162', 'hex')), ['a', 'b']);
  t.same(readCertificateResponse(Buffer.alloc(0)), []);
  t.throws(() => readCertificateResponse(Buffer.from('0a05', 'hex')));
  t.throws(() => readCertificateResponse(Buffer.from('0a00'.repeat(17), 'hex')), /more than 16 elements/);
});
