import fc from 'fast-check';
import t from 'tap';
import {
  derChildren,
  derTag,
  expectTag,
  maxDerDepth,
  readBitString,
  readBoolean,
  readDer,
  readDerList,
  readOid,
  readPrintableAscii,
  readSmallInteger,
} from '../../src/identity/der.ts';
import {
  derBitString,
  derElement,
  derNull,
  derOid,
  derSequence,
  derTrue,
  derUnsigned,
  derUtf8,
} from '../../src/identity/der-write.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('reads what the writer wrote', async (t) => {
  const long = Buffer.alloc(70_000, 7);
  for (const size of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
    const node = readDer(derElement(0x04, long.subarray(0, size)), 100_000);
    t.equal(node.content.length, size);
    t.equal(node.tag, 0x04);
  }
  const sequence = readDer(derSequence(derUnsigned(hex('0001')), derTrue(), derNull(), derUtf8('ü')));
  const [integer, boolean, nothing, text] = derChildren(sequence);
  t.equal(readSmallInteger(expectTag(integer, derTag.integer, 'it')), 1);
  t.equal(readBoolean(expectTag(boolean, derTag.boolean, 'it')), true);
  t.equal(nothing?.content.length, 0);
  t.equal(text?.content.toString('utf8'), 'ü');
});

t.test('refuses lengths and tags that are not DER', async (t) => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /ends inside a header/],
    ['a tag alone', '30', /ends inside a header/],
    ['an indefinite length', '3080 0000', /indefinite/],
    ['a long form that is not needed', '308101 05', /shortest/],
    ['a length with a leading zero', `30820080${'00'.repeat(128)}`, /shortest/],
    ['a length of five bytes', '30850000000001 00', /more than four bytes/],
    ['a length that is cut off', '3082 01', /ends inside a header/],
    ['a length beyond the input', '3005 0500', /longer than what holds it/],
    ['a length of 4 GB', '3084ffffffff 00', /longer than what holds it/],
    ['a tag of several bytes', '1f8101 00', /tag number of several bytes/],
    ['bytes after the end', '0500 00', /bytes follow/],
  ];
  for (const [what, bytes, message] of cases) {
    t.throws(() => readDer(hex(bytes)), { code: 'ERR_MESH_PEER_IDENTITY', message }, what);
  }
  t.throws(() => readDer(Buffer.alloc(65_537)), { message: /65537 bytes, at most 65536/ });
  t.throws(() => derChildren(readDer(hex('3003 0405 00'))), { message: /longer than what holds it/ });
  t.throws(() => derChildren(readDer(hex('0500'))), { message: /primitive element has no children/ });
});

t.test('does not follow nesting beyond its bound', async (t) => {
  let nested: Buffer = derNull();
  for (let i = 0; i < 10_000; i++) nested = derSequence(nested);
  let at = readDer(nested);
  let depth = 0;
  t.throws(
    () => {
      for (;;) {
        at = derChildren(at)[0] as typeof at;
        depth++;
      }
    },
    { message: /nested deeper/ },
  );
  t.equal(depth, maxDerDepth);
});

t.test('reads booleans, integers, object identifiers and bit strings strictly', async (t) => {
  const node = (bytes: string) => readDer(hex(bytes));
  t.equal(readBoolean(node('010100')), false);
  t.throws(() => readBoolean(node('010101')), { message: /not DER/ });
  t.throws(() => readBoolean(node('0102ffff')), { message: /not DER/ });

  t.equal(readSmallInteger(node('02047fffffff')), 2_147_483_647);
  t.equal(readSmallInteger(node('02020080')), 128);
  for (const bad of ['0200', '0201ff', '02020001', '0205008fffffff']) t.throws(() => readSmallInteger(node(bad)), bad);

  for (const oid of ['2.5.29.17', '1.2.840.113549.1.9.14', '0.9.2342', '2.999.3', '1.3.101.112', '2.5.29.37.0']) {
    t.equal(readOid(readDer(derOid(oid))), oid);
  }
  t.throws(() => readOid(node('0600')), { message: /absurd length/ });
  t.throws(() => readOid(node('0602 5580')), { message: /not minimal/ });
  t.throws(() => readOid(node('0602 5581')), { message: /ends early/ });
  t.throws(() => readOid(node('0607 5581818181 8101')), { message: /absurd number/ });

  t.same(readBitString(readDer(derBitString(hex('80'), 7))), { bytes: hex('80'), unusedBits: 7 });
  t.equal(readBitString(node('030100')).bytes.length, 0);
  for (const bad of ['0300', '030108', '030107', '030207ff']) t.throws(() => readBitString(node(bad)), bad);

  t.equal(readPrintableAscii(Buffer.from('a~ '), 'it'), 'a~ ');
  t.throws(() => readPrintableAscii(hex('6100'), 'it'), { message: /it holds the byte 0x00/ });
  t.throws(() => expectTag(undefined, derTag.oid, 'the name'), { message: /the name is missing/ });
  t.throws(() => expectTag(node('0500'), derTag.oid, 'the name'), { message: /the name has tag 0x5, not 0x6/ });
});

t.test('survives any input: truncated, flipped or random bytes give an answer or a MeshError', async (t) => {
  const good = derSequence(
    derOid('2.5.29.17'),
    derTrue(),
    derSequence(derUnsigned(hex('0102')), derBitString(hex('aa'))),
  );
  const walk = (bytes: Buffer): void => {
    const visit = (node: ReturnType<typeof readDer>): void => {
      if ((node.tag & 0x20) !== 0) for (const child of derChildren(node)) visit(child);
      else if (node.tag === derTag.oid) readOid(node);
      else if (node.tag === derTag.bitString) readBitString(node);
      else if (node.tag === derTag.integer) readSmallInteger(node);
    };
    try {
      visit(readDer(bytes));
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_MESH_PEER_IDENTITY') throw error;
    }
  };
  for (let length = 0; length < good.length; length++) walk(good.subarray(0, length));
  for (let bit = 0; bit < good.length * 8; bit++) {
    const flipped = Buffer.from(good);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    walk(flipped);
  }
  t.pass('nothing else was thrown');
});

t.test('elements in a row are split where they were put together, and nowhere else', async (t) => {
  const element = fc.uint8Array({ maxLength: 300 }).map((content) => derElement(0x04, content));
  fc.assert(
    fc.property(fc.array(element, { maxLength: 8 }), (row) => {
      const read = readDerList(Buffer.concat(row), 8);
      t.strictSame(
        read.map(({ bytes }) => bytes),
        row,
      );
    }),
    { numRuns: 50 },
  );
  t.same(readDerList(Buffer.alloc(0), 8), []);
});

t.test('elements in a row are bounded, and none may end early', async (t) => {
  const one = derElement(0x04, Buffer.alloc(10));
  const three = Buffer.concat([one, one, one]);
  t.equal(readDerList(three, 3).length, 3);
  t.throws(() => readDerList(three, 2), { code: 'ERR_MESH_PEER_IDENTITY', message: /more than 2 elements in a row/ });
  t.equal(readDerList(three, 3, one.length).length, 3);
  t.throws(() => readDerList(three, 3, one.length - 1), { message: /12 bytes, at most 11 are read/ });
  for (let length = 1; length < three.length; length++) {
    const cut = three.subarray(0, length);
    if (length % one.length === 0) t.equal(readDerList(cut, 3).length, length / one.length);
    else t.throws(() => readDerList(cut, 3), { message: /malformed DER/ }, `${length} bytes`);
  }
});
