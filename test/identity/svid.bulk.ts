import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { readPemCertificates } from '../../src/identity/pem.ts';
import type { TrustBundles } from '../../src/identity/trust.ts';
import { verifyPeer } from '../../src/identity/verify-peer.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import { makeAuthority, makeCertificate, toPem } from '../support/certificates.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Sample {
  readonly name: string;
  readonly chain: readonly X509Certificate[];
  readonly bundles: TrustBundles;
}

function ellipticSample(): Sample {
  const { issue, trustBundles } = makeAuthority();
  return { name: 'P-256', chain: readPemCertificates(issue(web).certificateChainPem, 'chain'), bundles: trustBundles };
}

/** An RSA leaf that an RSA root signed. */
function rsaSample(): Sample {
  const make = () => generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  const root = { name: 'an RSA root', key: make() };
  const rootPem = toPem(makeCertificate(root.key, { name: root.name, ca: true }));
  const leaf = new X509Certificate(makeCertificate(make(), { sans: [{ uri: web }] }, root));
  return { name: 'RSA', chain: [leaf], bundles: new Map([['cluster.local', [rootPem]]]) };
}

/** Who is accepted when this bit of one certificate of the chain is the other way round. */
function acceptedWithFlip({ chain, bundles }: Sample, which: number, bit: number): string | undefined {
  const der = Buffer.from((chain[which] as X509Certificate).raw);
  der[bit >> 3] = (der[bit >> 3] as number) ^ (1 << (bit & 7));
  try {
    const flipped = chain.with(which, new X509Certificate(der));
    // A map of its own each time: what is proven under one is remembered, with whatever chain it is presented.
    return verifyPeer(flipped, new Map(bundles), Date.now()).spiffeId;
  } catch {
    return undefined;
  }
}

t.test('SVID-057: no certificate is accepted of which a single bit was flipped', async (t) => {
  for (const { samples, atLeast } of [
    { samples: [ellipticSample(), ellipticSample()], atLeast: 10_000 },
    { samples: [rsaSample()], atLeast: 5_000 },
  ]) {
    let tried = 0;
    const accepted: string[] = [];
    for (const sample of samples) {
      t.equal(verifyPeer(sample.chain, sample.bundles, Date.now()).spiffeId, web, `${sample.name}: good as it is`);
      for (const [which, { raw }] of sample.chain.entries()) {
        for (let bit = 0; bit < raw.length * 8; bit++) {
          tried++;
          const who = acceptedWithFlip(sample, which, bit);
          if (who !== undefined) accepted.push(`certificate ${which}, bit ${bit}: ${who}`);
        }
      }
    }
    t.same(accepted, [], `${samples[0]?.name}: ${tried} variants`);
    t.ok(tried >= atLeast, `${tried}`);
  }
});

// ---- the grammar of SPIFFE IDs, once more, as the standard has it and as slowly as can be

type Reading = { readonly trustDomain: string; readonly path: string } | 'refused';

const lower = 'abcdefghijklmnopqrstuvwxyz';
const forTrustDomains = new Set(`${lower}0123456789.-_`);
const forSegments = new Set(`${lower}${lower.toUpperCase()}0123456789.-_`);

/** SPIFFE-ID, sections 2.1 to 2.4. Written without a look at ours. */
function reference(text: string): Reading {
  if (Buffer.byteLength(text, 'utf8') > 2_048) return 'refused';
  const characters = [...text];
  for (const expected of 'spiffe://') if (characters.shift() !== expected) return 'refused';
  let trustDomain = '';
  while (characters.length > 0 && characters[0] !== '/') trustDomain += characters.shift();
  if (trustDomain === '' || trustDomain.length > 255) return 'refused';
  for (const character of trustDomain) if (!forTrustDomains.has(character)) return 'refused';
  const path = characters.join('');
  while (characters.length > 0) {
    characters.shift();
    let segment = '';
    while (characters.length > 0 && characters[0] !== '/') segment += characters.shift();
    if (segment === '' || segment === '.' || segment === '..') return 'refused';
    for (const character of segment) if (!forSegments.has(character)) return 'refused';
  }
  return { trustDomain, path };
}

function ours(text: string): Reading {
  try {
    const { trustDomain, path, uri } = parseSpiffeId(text);
    return uri === text ? { trustDomain, path } : 'refused';
  } catch {
    return 'refused';
  }
}

const from = (characters: string, options: { minLength: number; maxLength: number }): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...characters), ...options });
const segment = from([...forSegments].join(''), { minLength: 1, maxLength: 20 });
const valid = fc
  .tuple(
    from([...forTrustDomains].join(''), { minLength: 1, maxLength: 40 }),
    fc.array(
      segment.filter((text) => text !== '.' && text !== '..'),
      { maxLength: 6 },
    ),
  )
  .map(([domain, segments]) => ['spiffe:/', domain, ...segments].join('/'));
/** What URLs, paths and parsers trip over. */
const odd = fc.constantFrom(
  ...[
    '/',
    '//',
    '.',
    '..',
    '/.',
    '/..',
    '/./',
    '%2e',
    '%',
    ':',
    ':443',
    '@',
    '?',
    '#',
    '\\',
    ' ',
    '\t',
    '\n',
    '\r',
    '\0',
  ],
  ...[
    'A',
    'Z',
    'é',
    'о',
    '￼',
    '😀',
    '\u202e',
    '\ud800',
    '~',
    '*',
    '+',
    ',',
    ';',
    '=',
    '[',
    ']',
    '{',
    '"',
    "'",
    '|',
    '\x7f',
  ],
  ...['spiffe://', 'SPIFFE://', 'spiffe:', 'http://', '-', '_', '--', '__proto__', '0'],
);
const mutated = fc
  .tuple(valid, fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.oneof(odd, segment)), { minLength: 1, maxLength: 3 }))
  .map(([text, edits]) =>
    edits.reduce((now, [place, removed, inserted]) => {
      const at = place % (now.length + 1);
      return now.slice(0, at) + inserted + now.slice(at + removed);
    }, text),
  );
const long = fc
  .tuple(fc.integer({ min: 250, max: 260 }), fc.integer({ min: 1_700, max: 2_100 }), fc.boolean())
  .map(([domain, path, inDomain]) =>
    inDomain ? `spiffe://${'d'.repeat(domain)}/x` : `spiffe://d/${'p'.repeat(path)}`.slice(0, path),
  );
const edge = fc
  .tuple(fc.integer({ min: -2, max: 2 }), fc.constantFrom('a', '.', 'é', '/'))
  .map(([by, last]) => `spiffe://d/${'p'.repeat(2_048 + by - 'spiffe://d/'.length - 1)}${last}`);
const anything = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string().map((text) => `spiffe://${text}`),
);

t.test(
  '100,000 SPIFFE IDs, good and nearly good, are read as a naive reading of the standard reads them',
  async (t) => {
    const seen = { accepted: 0, refused: 0 };
    const ids = fc.oneof(
      { arbitrary: valid, weight: 4 },
      { arbitrary: mutated, weight: 10 },
      { arbitrary: long, weight: 1 },
      { arbitrary: edge, weight: 1 },
      { arbitrary: anything, weight: 2 },
    );
    fc.assert(
      fc.property(ids, (text) => {
        const expected = reference(text);
        seen[expected === 'refused' ? 'refused' : 'accepted']++;
        const found = ours(text);
        if (expected === 'refused' || found === 'refused') return expected === found;
        return expected.trustDomain === found.trustDomain && expected.path === found.path;
      }),
      { numRuns: 100_000 },
    );
    t.ok(seen.accepted > 20_000 && seen.refused > 20_000, JSON.stringify(seen));
  },
);
