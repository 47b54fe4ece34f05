import t from 'tap';
import {
  highOf,
  joinHash,
  lowOf,
  unitInterval,
  xxHash64,
  xxHash64Big,
  xxHash64Header,
} from '../../src/lib/xxhash64.ts';

const hex = (text: string): string => {
  const { high, low } = xxHash64(text);
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
};

/** The same function in BigInt, written from the specification: slow, and easy to compare with it. */
function reference(text: string): string {
  const bytes = Buffer.from(text);
  const mask = (1n << 64n) - 1n;
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ];
  const rotate = (value: bigint, bits: bigint): bigint => ((value << bits) | (value >> (64n - bits))) & mask;
  const round = (acc: bigint, lane: bigint): bigint => (rotate((acc + lane * p2) & mask, 31n) * p1) & mask;
  let at = 0;
  let hash = p5;
  if (bytes.length >= 32) {
    const acc = [(p1 + p2) & mask, p2, 0n, -p1 & mask];
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) acc[i] = round(acc[i] as bigint, bytes.readBigUInt64LE(at + i * 8));
    }
    hash = [1n, 7n, 12n, 18n].reduce((sum, bits, i) => (sum + rotate(acc[i] as bigint, bits)) & mask, 0n);
    for (const each of acc) hash = ((hash ^ round(0n, each)) * p1 + p4) & mask;
  }
  hash = (hash + BigInt(bytes.length)) & mask;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * p1 + p4) & mask;
  }
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(bytes.readUInt32LE(at)) * p1) & mask), 23n) * p2 + p3) & mask;
    at += 4;
  }
  for (; at < bytes.length; at++) hash = (rotate(hash ^ ((BigInt(bytes[at] as number) * p5) & mask), 11n) * p1) & mask;
  hash = ((hash ^ (hash >> 33n)) * p2) & mask;
  hash = ((hash ^ (hash >> 29n)) * p3) & mask;
  return (hash ^ (hash >> 32n)).toString(16).padStart(16, '0');
}

t.test('published values', async (t) => {
  t.equal(hex(''), 'ef46db3751d8e999');
  t.equal(hex('a'), 'd24ec4f1a98c6e5b');
  t.equal(hex('abc'), '44bc2cf5ad770999');
  t.equal(hex('Nobody inspects the spammish repetition'), 'fbcea83c8a378bf1');
});

t.test('every length of text, and text that is not ASCII', async (t) => {
  for (let length = 0; length < 100; length++) {
    const text = Array.from({ length }, (_, i) => String.fromCharCode(33 + ((i * 7 + length) % 90))).join('');
    t.equal(hex(text), reference(text), `${length} characters`);
  }
  for (const text of ['ü', '用户', '😀 and more than thirty-two bytes of it'])
    t.equal(hex(text), reference(text), text);
});

t.test('with the seed 1', async (t) => {
  t.equal(xxHash64Big('abc', 1), 0xbea9ca8199328908n);
  t.equal(xxHash64Big('x'.repeat(100), 1), 0xa27aec103fa2bdaen);
  t.equal(xxHash64Big('10.0.0.1:80', 1), 0xa456919bcbffaa92n);
});

t.test('as one number, as halves, of UTF-8 or of the bytes of a header', async (t) => {
  for (const text of [
    '',
    'a',
    'ü',
    '€',
    'x'.repeat(63),
    'x'.repeat(64),
    'x'.repeat(65),
    `${'x'.repeat(40)}ü`,
    'ü'.repeat(2_000),
  ]) {
    const { high, low } = xxHash64(text);
    const big = xxHash64Big(text);
    t.equal(big, joinHash(high, low));
    t.same([highOf(big), lowOf(big)], [high, low]);
    t.equal(xxHash64Header(Buffer.from(text).toString('latin1')), big, 'the bytes of UTF-8, as Node reads them');
  }
});

t.test('as a number it lies between 0 and 1 and never on them', async (t) => {
  t.ok(unitInterval({ high: 0, low: 0 }) > 0);
  t.ok(unitInterval({ high: 0xffff_ffff, low: 0xffff_ffff }) < 1);
  t.equal(unitInterval({ high: 0x8000_0000, low: 0 }), 0.5 + 0.5 / 2 ** 52);
  let sum = 0;
  for (let i = 0; i < 20_000; i++) sum += unitInterval(xxHash64(`user-${i}`));
  t.ok(Math.abs(sum / 20_000 - 0.5) < 0.01, 'evenly');
});
