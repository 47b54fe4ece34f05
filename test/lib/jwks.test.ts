import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { jwksLimits, parseJwks } from '../../src/lib/jwks.ts';

type Jwk = Readonly<Record<string, unknown>>;

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const small = generateKeyPairSync('rsa', { modulusLength: 1_024 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' });
const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
const ed = generateKeyPairSync('ed25519');
const jwkOf = (pair: { publicKey: { export(options: { format: 'jwk' }): object } }): Jwk => ({
  ...pair.publicKey.export({ format: 'jwk' }),
});
const setOf = (...keys: readonly unknown[]): string => JSON.stringify({ keys });
const good = { ...jwkOf(p256), kid: 'good' };

t.test('a key verifies the algorithms of its type, or the one that it names', async (t) => {
  const all = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
  for (const [jwk, algorithms] of [
    [jwkOf(rsa), all],
    [{ ...jwkOf(rsa), alg: 'PS384', use: 'sig', key_ops: ['verify'] }, ['PS384']],
    [jwkOf(p256), ['ES256']],
    [jwkOf(p521), ['ES512']],
    [jwkOf(ed), ['EdDSA', 'Ed25519']],
    [{ ...jwkOf(ed), alg: 'EdDSA' }, ['EdDSA']],
    [{ ...jwkOf(rsa), x5u: 'https://elsewhere.example', __proto__: null, constructor: 1 }, all],
  ] as const) {
    const { keys, ignored } = parseJwks(setOf(jwk));
    t.same(keys[0]?.algorithms, algorithms);
    t.same(ignored, []);
  }
});

t.test('keys that verify nothing are left out, and it says why', async (t) => {
  for (const [jwk, why] of [
    [{ ...jwkOf(rsa), use: 'enc' }, 'its use is not sig'],
    [{ ...jwkOf(rsa), key_ops: ['encrypt'] }, 'its key_ops do not allow to verify'],
    [{ ...jwkOf(rsa), key_ops: 'verify' }, 'its key_ops do not allow to verify'],
    [{ ...jwkOf(rsa), kid: 7 }, 'its kid is not a text, or too long'],
    [{ ...jwkOf(rsa), kid: 'k'.repeat(1_025) }, 'its kid is not a text, or too long'],
    [{ ...jwkOf(rsa), alg: 'ES256' }, 'its alg is not one of its type'],
    [{ ...jwkOf(rsa), alg: 'HS256' }, 'its alg is not one of its type'],
    [{ ...jwkOf(rsa), alg: 'none' }, 'its alg is not one of its type'],
    [{ ...jwkOf(p256), alg: ['ES256'] }, 'its alg is not one of its type'],
    [jwkOf(k1), 'its type or curve is not known'],
    [{ kty: 'AKP', alg: 'ML-DSA-44', pub: 'AA' }, 'its type or curve is not known'],
    [{ kty: 'constructor' }, 'its type or curve is not known'],
    [{ kty: 'RSA' }, 'its values are not those of a key'],
    [{ kty: 'RSA', n: 1, e: [] }, 'its values are not those of a key'],
    [{ ...jwkOf(p256), x: 'AAAA' }, 'its values are not those of a key'],
    [{ ...jwkOf(p256), y: jwkOf(p256)['x'] }, 'its values are not those of a key'],
    [jwkOf(small), 'its modulus has 1024 bits, 2048 to 8192 are allowed'],
    [{ ...jwkOf(rsa), e: 'AQ' }, 'its exponent is even, too small or too large'],
    [{ ...jwkOf(rsa), e: 'AQAAAAAAAAAB' }, 'its exponent is even, too small or too large'],
  ] as const) {
    const { keys, ignored } = parseJwks(setOf(jwk, good));
    t.same(
      keys.map(({ kid }) => kid),
      ['good'],
      why,
    );
    t.same(ignored, [`key 1: ${why}`]);
    t.throws(
      () => parseJwks(setOf(jwk)),
      new Error(`the key set has no key that can verify signatures (key 1: ${why})`),
    );
  }
});

t.test('JWT-080 a set with a private or symmetric key is refused whole', async (t) => {
  const privateKey = { ...rsa.privateKey.export({ format: 'jwk' }) };
  const symmetric = { kty: 'oct', k: 'c2VjcmV0', kid: 'good' };
  for (const [jwk, what] of [
    [privateKey, 'a private key'],
    [{ ...p256.privateKey.export({ format: 'jwk' }) }, 'a private key'],
    [{ ...ed.privateKey.export({ format: 'jwk' }) }, 'a private key'],
    [{ ...jwkOf(rsa), k: 'c2VjcmV0' }, 'a private key'],
    [symmetric, 'a symmetric key'],
  ] as const) {
    const message = `key 2 is ${what}: its secret is known to all who can read the set`;
    t.throws(() => parseJwks(setOf(good, jwk)), new Error(message));
  }
});

t.test('what is no key set is refused in words without its text', async (t) => {
  for (const [text, why] of [
    ['', 'the key set cannot be read: not JSON'],
    ['<html>', 'the key set cannot be read: not JSON'],
    ['[]', 'the key set is no object'],
    ['null', 'the key set is no object'],
    ['{}', 'the key set has no list of keys'],
    ['{"__proto__":{"keys":[]}}', 'the key set has no list of keys'],
    [JSON.stringify(good), 'the key set has no list of keys'],
    ['{"keys":{}}', 'the key set has no list of keys'],
    ['{"keys":[]}', 'the key set has no key that can verify signatures'],
    ['{"keys":[1]}', 'key 1 is no object'],
    ['{"keys":[],"keys":[]}', 'the key set cannot be read: the name "keys" appears twice'],
    [`{"keys":[${'['.repeat(9)}${']'.repeat(9)}]}`, 'the key set cannot be read: nested deeper than 8'],
    [setOf(...Array.from({ length: 101 }, () => good)), 'the key set has 101 keys, 100 are allowed'],
    [
      `{"keys":[],"x":"${'y'.repeat(jwksLimits.maxLength)}"}`,
      'the key set cannot be read: longer than 1048576 characters',
    ],
  ] as const) {
    t.throws(() => parseJwks(text), new Error(why), text.slice(0, 60));
  }
});
