import t from 'tap';
import { redactText } from '../../src/lib/redact.ts';

const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';

for (const [what, text, shown] of [
  ['a token', jwt, '[redacted]'],
  ['one in a path', `/a/${jwt}/b`, '/a/[redacted]/b'],
  ['one behind a dot', `.${jwt}`, '.[redacted]'],
  ['one behind a dash or an underscore', `a-${jwt} b_${jwt}`, 'a-[redacted] b_[redacted]'],
  ['two of them', `${jwt}.${jwt}`, '[redacted].[redacted]'],
  ['one behind a name with dots', `a.b.${jwt}.c`, 'a.b.[redacted].c'],
  ['one without a signature', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.', '[redacted]'],
  ['one that was cut in its payload', 'eyJhbGciOiJFUzI1NiJ9.eyJzdWI', '[redacted]'],
  ['one whose payload is encrypted', 'eyJhbGciOiJkaXIifQ.x.y', '[redacted]'],
  ['a bearer token', 'Bearer abcdefgh.ij', 'Bearer [redacted]'],
  ['a password', 'basic  YWJjOmRlZg==', 'basic [redacted]'],
  ['a private key', 'a -----BEGIN PRIVATE KEY-----\nx', 'a [redacted]'],
  [
    'names with dots',
    'reviews.shop.svc.cluster.local 1.2.3 eyJ a.eyJb',
    'reviews.shop.svc.cluster.local 1.2.3 eyJ a.eyJb',
  ],
] as const) {
  t.test(`${what}: ${shown}`, async (t) => t.equal(redactText(text), shown));
}

t.test('what callers send takes no more time than its length is worth', async (t) => {
  // Each of these took time that grows with the square of the length, or would: minutes for a megabyte.
  for (const part of [
    '-eyJ',
    'eyJ.',
    '.eyJ',
    'eyJa.eyJ',
    'eyJa.eyJb ',
    'basic ',
    '-----BEGIN ',
    '-----END ',
    '-eyJa.',
  ]) {
    t.type(redactText(part.repeat(1_000_000 / part.length)), 'string');
  }
});
