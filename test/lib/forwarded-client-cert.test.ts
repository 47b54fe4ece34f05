import fc from 'fast-check';
import t from 'tap';
import { isForwardedClientCert, parseForwardedClientCert } from '../../src/lib/forwarded-client-cert.ts';

const none = { by: [], uris: [], dns: [] };

t.test('elements and their pairs, in order', (t) => {
  const cases: readonly (readonly [string, string, readonly object[]])[] = [
    ['nothing', '', []],
    [
      'what a sidecar of Istio writes',
      'By=spiffe://td/ns/a/sa/b;Hash=ab12;Subject="";URI=spiffe://td/ns/c/sa/d',
      [{ by: ['spiffe://td/ns/a/sa/b'], hash: 'ab12', subject: '', uris: ['spiffe://td/ns/c/sa/d'], dns: [] }],
    ],
    [
      'two hops',
      'URI=a,URI=b',
      [
        { ...none, uris: ['a'] },
        { ...none, uris: ['b'] },
      ],
    ],
    [
      'two headers, as Node joins them',
      'URI=a, URI=b',
      [
        { ...none, uris: ['a'] },
        { ...none, uris: ['b'] },
      ],
    ],
    ['a key several times', 'URI=a;URI=b;DNS=x;DNS=y', [{ ...none, uris: ['a', 'b'], dns: ['x', 'y'] }]],
    ['keys in any case', 'uri=a;HASH=b', [{ ...none, uris: ['a'], hash: 'b' }]],
    ['no URI name', 'URI=', [none]],
    ['separators inside of quotes', 'Subject="CN=a,URI=b;Hash=c"', [{ ...none, subject: 'CN=a,URI=b;Hash=c' }]],
    ['IDH-003: an escaped quote', 'Subject="a\\",URI=spiffe://evil"', [{ ...none, subject: 'a",URI=spiffe://evil' }]],
    [
      'an escaped backslash at the end',
      'Subject="a\\\\",URI=b',
      [
        { ...none, subject: 'a\\\\' },
        { ...none, uris: ['b'] },
      ],
    ],
    ['escapes of RFC 2253 stay', 'Subject="CN=a\\,b"', [{ ...none, subject: 'CN=a\\,b' }]],
    ['a value with = in it', 'URI=https://a/?b=c', [{ ...none, uris: ['https://a/?b=c'] }]],
    ['PEM', 'Cert="-----BEGIN%20X-----%0A%2B%2F%3D"', [{ ...none, cert: '-----BEGIN X-----\n+/=' }]],
    ['a chain', 'Chain="a%0Ab"', [{ ...none, chain: 'a\nb' }]],
    ['keys that nobody knows', 'Foo=a;URI=b', [{ ...none, uris: ['b'] }]],
    ['empty elements', ',,URI=a,;,', [{ ...none, uris: ['a'] }]],
  ];
  for (const [what, value, expected] of cases) t.same(parseForwardedClientCert(value), expected, what);
  t.end();
});

t.test('what different readers would read differently is refused', (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['Subject="a', /quote at character 9 that nothing closes/],
    ['Subject="a\\"', /nothing closes/],
    ['Subject="a"b', /text after the closing quote at character 11/],
    ['URI=a"b', /nothing closes/],
    ['spiffe://a', /pairs of a name, = and a value; there is none at character 1/],
    ['URI=a;=b', /none at character 7/],
    ['__proto__=a', /none at character 1/],
    ['Cert="%"', /not URL-encoded/],
    [`URI=${'a'.repeat(65_536)}`, /65540 characters, 65536 are allowed/],
  ];
  for (const [value, message] of cases) {
    t.throws(() => parseForwardedClientCert(value), { code: 'ERR_MESH_BAD_REQUEST', message }, value.slice(0, 40));
  }
  t.end();
});

t.test('what is appended to a value that is in order is an element of its own', (t) => {
  const part = fc.string({ unit: fc.constantFrom('U', 'R', 'I', '=', ';', ',', '"', '\\', ' ', 'a'), maxLength: 24 });
  let whole = 0;
  fc.assert(
    fc.property(part, (given) => {
      if (!isForwardedClientCert(given)) return;
      whole++;
      const before = parseForwardedClientCert(given);
      const after = parseForwardedClientCert(`${given},URI=spiffe://own`);
      t.same(after.slice(0, -1), before);
      t.same(after.at(-1), { ...none, uris: ['spiffe://own'] });
    }),
    { numRuns: 3_000, seed: 1, examples: [['URI=a'], ['Subject="a\\",URI=b"']] },
  );
  t.ok(whole > 20, `${whole} values were in order`);
  t.end();
});
