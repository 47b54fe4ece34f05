import { generateKeyPairSync, sign, verify } from 'node:crypto';
import t from 'tap';
import { derSignature } from '../../src/jwt/der-signature.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('two numbers are written as DER, without zeros that say nothing and never as negative ones', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['0102 0304', '3008 0202 0102 0202 0304'],
    ['0001 007f', '3006 0201 01 0201 7f'],
    ['8001 0080', '3009 0203 008001 0202 0080'],
    ['0000 0000', '3006 0201 00 0201 00'],
    ['00ff ff00', '3009 0202 00ff 0203 00ff00'],
  ];
  for (const [raw, der] of cases) t.equal(derSignature(hex(raw), 2)?.toString('hex'), hex(der).toString('hex'), raw);
});

t.test('what is not twice as long as a number is no signature', async (t) => {
  for (const length of [0, 1, 63, 65, 96, 132]) t.equal(derSignature(Buffer.alloc(length, 1), 32), undefined);
});

for (const [namedCurve, half, hash] of [
  ['P-256', 32, 'sha256'],
  ['P-384', 48, 'sha384'],
  ['P-521', 66, 'sha512'],
] as const) {
  t.test(`signatures of ${namedCurve} are as good as in the form of tokens`, async (t) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    let differ = 0;
    for (let i = 0; i < 60; i++) {
      const data = Buffer.from(`message ${i}`);
      const signature = sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      if (i % 3 === 0) signature[i] = (signature[i] as number) ^ 1;
      const der = derSignature(signature, half);
      const good = der !== undefined && verify(hash, data, publicKey, der);
      if (good !== verify(hash, data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)) differ++;
      if (good !== (i % 3 !== 0)) differ++;
    }
    t.equal(differ, 0);
  });
}
