import fc from 'fast-check';
import t from 'tap';
import {
  readJwtBundlesMessage,
  readJwtSvidMessage,
  readValidateMessage,
  readX509BundlesMessage,
  readX509SvidMessage,
  writeJwtSvidRequest,
  writeValidateRequest,
} from '../src/messages.ts';
import { type Claims, type ClaimValue, readStruct } from '../src/struct.ts';
import { encodeJwtBundles, encodeStruct, encodeX509Bundles, encodeX509Svids } from './support/encode.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('requests have the bytes of workloadapi.proto', async (t) => {
  // audience = 1, spiffe_id = 2
  t.equal(writeJwtSvidRequest(['a', 'bc'], '').toString('hex'), '0a01610a026263');
  t.equal(writeJwtSvidRequest(['a'], 'spiffe://t/w').toString('hex'), '0a0161120c7370696666653a2f2f742f77');
  // audience = 1, svid = 2
  t.equal(
    writeValidateRequest('a', 'x.y.z').toString('hex'),
    '0a016112057800000000'.replace('7800000000', '782e792e7a'),
  );
});

t.test('answers are read from the bytes of workloadapi.proto, whatever else is in them', async (t) => {
  // svids = 1 { spiffe_id = 1, x509_svid = 2, x509_svid_key = 3, bundle = 4, hint = 5, a later field 9 }, crl = 2,
  // federated_bundles = 3 { key = 1, value = 2 }, a later field 15
  const x509 = hex('0a11 0a0173 1201aa 1a01bb 2201cc 2a0168 4801 1201dd 1a06 0a0166 1201ee 7801');
  t.same(readX509SvidMessage(x509), {
    svids: [{ spiffeId: 's', chain: hex('aa'), key: hex('bb'), bundle: hex('cc'), hint: 'h' }],
    crls: [hex('dd')],
    federatedBundles: new Map([['f', hex('ee')]]),
  });
  t.same(readX509SvidMessage(hex('')), { svids: [], crls: [], federatedBundles: new Map() });
  // crl = 1, bundles = 2; an entry without a value has an empty one
  t.same(readX509BundlesMessage(hex('0a01dd 1206 0a0162 1201ee 1203 0a0163')), {
    crls: [hex('dd')],
    bundles: new Map([
      ['b', hex('ee')],
      ['c', Buffer.alloc(0)],
    ]),
  });
  t.same(readJwtSvidMessage(hex('0a09 0a0173 120174 1a0168')), [{ spiffeId: 's', token: 't', hint: 'h' }]);
  t.same(readJwtBundlesMessage(hex('0a06 0a0162 12017b')), new Map([['b', Buffer.from('{')]]));
  // claims = 2 { fields = 1 { key = 1, value = 2 { string_value = 3 } } }
  t.same(readValidateMessage(hex('0a0173 120a 0a08 0a0161 12031a0162')), { spiffeId: 's', claims: { a: 'b' } });
  t.same(readValidateMessage(hex('0a0173')), { spiffeId: 's' });
});

t.test('a field of another wire type is passed over, as a field that is unknown', async (t) => {
  t.same(readX509SvidMessage(hex('0801 1001 1801')), { svids: [], crls: [], federatedBundles: new Map() });
});

t.test('what is too much is refused before it is kept', async (t) => {
  const svid = { spiffeId: 's', chain: hex('aa'), key: hex('bb'), bundle: hex('cc') };
  const many = <T>(item: T, count: number): readonly T[] => Array.from({ length: count }, () => item);
  const keys = (count: number) => Array.from({ length: count }, (_, i) => [`spiffe://t${i}`, hex('aa')] as const);
  t.equal(readX509SvidMessage(encodeX509Svids({ svids: many(svid, 64) })).svids.length, 64);
  const cases: readonly (readonly [RegExp, () => unknown])[] = [
    [/more than 64 SVIDs/, () => readX509SvidMessage(encodeX509Svids({ svids: many(svid, 65) }))],
    [
      /more than 64 certificate revocation/,
      () => readX509SvidMessage(encodeX509Svids({ svids: [], crls: many(hex('aa'), 65) })),
    ],
    [
      /more than 1024 federated bundles/,
      () => readX509SvidMessage(encodeX509Svids({ svids: [], federated: Object.fromEntries(keys(1_025)) })),
    ],
    [/more than 1024 bundles/, () => readX509BundlesMessage(encodeX509Bundles(keys(1_025)))],
    [/two bundles of "spiffe:\/\/t0"/, () => readX509BundlesMessage(encodeX509Bundles([...keys(1), ...keys(1)]))],
    [
      /two JWT bundles of "a"/,
      () =>
        readJwtBundlesMessage(
          encodeJwtBundles([
            ['a', '{}'],
            ['a', '{}'],
          ]),
        ),
    ],
  ];
  for (const [message, read] of cases) t.throws(read, { code: 'ERR_MESH_WORKLOAD_API', message });
});

t.test('claims are read as JSON has them', async (t) => {
  const claims = {
    sub: 'spiffe://t/w',
    aud: ['a', 'b'],
    exp: 1_893_456_000,
    half: 0.5,
    yes: true,
    nothing: null,
    nested: { list: [[], {}], __proto__x: 1 },
  };
  t.same(readStruct(encodeStruct(claims)), claims);
  const hostile = readStruct(encodeStruct(JSON.parse('{"__proto__": {"admin": true}}')));
  t.same(Object.keys(hostile), ['__proto__']);
  t.equal((hostile as { admin?: unknown }).admin, undefined, 'the name of a claim gives nothing to an object');
});

t.test('claims of absurd depth or number are refused', async (t) => {
  const nested = (depth: number): ClaimValue => (depth === 0 ? 1 : { a: nested(depth - 1) });
  t.doesNotThrow(() => readStruct(encodeStruct(nested(16) as Claims)));
  t.throws(() => readStruct(encodeStruct(nested(17) as Claims)), { message: /nested deeper than 16/ });
  const wide = Object.fromEntries(Array.from({ length: 1_001 }, (_, i) => [`c${i}`, i]));
  t.throws(() => readStruct(encodeStruct(wide)), { message: /more than 1000 values/ });
  t.throws(() => readStruct(encodeStruct({ list: Array.from({ length: 1_000 }, () => 1) })), {
    message: /more than 1000/,
  });
});

t.test('every answer is read as it was written, with fields of later versions between', async (t) => {
  const bytes = fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array));
  const svid = fc.record(
    { spiffeId: fc.string(), chain: bytes, key: bytes, bundle: bytes, hint: fc.string() },
    { noNullPrototype: true },
  );
  const message = fc.record({
    svids: fc.array(svid, { maxLength: 4 }),
    crls: fc.array(bytes, { maxLength: 3 }),
    federated: fc.dictionary(fc.string(), bytes, { maxKeys: 4, noNullPrototype: true }),
  });
  const later = hex('7801 8a0403616263 9d0401020304');
  fc.assert(
    fc.property(message, ({ crls, federated, svids }) => {
      const sent = Buffer.concat([later, encodeX509Svids({ svids, crls, federated }), later]);
      t.strictSame(readX509SvidMessage(sent), { svids, crls, federatedBundles: new Map(Object.entries(federated)) });
    }),
    { numRuns: 50 },
  );
});

t.test('an answer that ends early is refused, or is one with less in it', async (t) => {
  const whole = encodeX509Svids({
    svids: [{ spiffeId: 'spiffe://t/w', chain: hex('aabb'), key: hex('cc'), bundle: hex('dd'), hint: 'h' }],
    crls: [hex('ff')],
    federated: { 'spiffe://u': hex('ee') },
  });
  const ends = new Set<number>();
  for (let length = 0; length < whole.length; length++) {
    try {
      const { crls, federatedBundles, svids } = readX509SvidMessage(whole.subarray(0, length));
      t.ok(svids.length + crls.length + federatedBundles.size < 3);
      ends.add(length);
    } catch (error) {
      t.type(error, Error);
    }
  }
  t.equal(ends.size, 3, 'it can end between fields only');
});
