import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { createCsr, generateIdentityKey } from '../../src/identity/csr.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

t.test(
  'OpenSSL verifies the requests, and finds one critical name in them',
  {
    skip: hasOpenssl ? false : 'there is no openssl command here',
  },
  async (t) => {
    const keys = {
      'P-256': generateIdentityKey(),
      'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
      Ed25519: generateKeyPairSync('ed25519').privateKey,
      RSA: generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey,
    };
    for (const [kind, key] of Object.entries(keys)) {
      const { status, stdout, stderr } = spawnSync('openssl', ['req', '-verify', '-noout', '-text'], {
        input: createCsr(web, key),
        encoding: 'utf8',
      });
      t.equal(status, 0, `${kind}: ${stderr}`);
      t.match(stdout, /Subject: ?\n/, 'an empty subject');
      t.match(stdout, new RegExp(`Subject Alternative Name: critical\\s+URI:${web}\n`));
      t.match(`${stdout}${stderr}`, /verify OK/i);
    }
  },
);

t.test('is PEM with lines of 64 characters', async (t) => {
  const lines = createCsr(web, generateIdentityKey()).trimEnd().split('\n');
  t.equal(lines[0], '-----BEGIN CERTIFICATE REQUEST-----');
  t.equal(lines.at(-1), '-----END CERTIFICATE REQUEST-----');
  t.ok(lines.slice(1, -2).every((line) => line.length === 64));
  t.ok((lines.at(-2) ?? '').length > 0);
});

t.test('refuses what is not a SPIFFE ID, and other keys', async (t) => {
  t.throws(() => createCsr('https://x/y', generateIdentityKey()), { code: 'ERR_MESH_PEER_IDENTITY' });
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 });
  t.throws(() => createCsr(web, privateKey), { code: 'ERR_MESH_OPTION_INVALID', message: /not rsa of 1024 bits/ });
  const short = generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).privateKey;
  t.throws(() => createCsr(web, short), { code: 'ERR_MESH_OPTION_INVALID', message: /not rsa-pss/ });
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey;
  t.throws(() => createCsr(web, curve), { code: 'ERR_MESH_OPTION_INVALID', message: /not secp521r1/ });
});
