import t from 'tap';
import {
  canonicalHost,
  isFqdn,
  isLabel,
  isLabelKey,
  isLabelValue,
  isUnixPath,
  isWildcardDomain,
} from '../../src/config/host-syntax.ts';

const table: readonly (readonly [(text: string) => boolean, readonly string[], readonly string[]])[] = [
  [isLabel, ['a', 'A-1', '0', 'a'.repeat(63)], ['', '-a', 'a-', 'a.b', 'a_b', 'a'.repeat(64)]],
  [
    isFqdn,
    ['a', 'a.b', 'A.b.', '1.a', `${'a'.repeat(63)}.b`],
    ['', '.', 'a..b', '.a', '*.a', '1.2.3.4', 'a.1', 'a_b', 'x'.repeat(256), 'a b'],
  ],
  [
    isWildcardDomain,
    ['*', '*.a', '*a', '*a.b', '*-a.b', 'a.b', 'a.b.', '1', 'x'.repeat(63)],
    ['', '**', '*-', 'a*', 'a.*', 'a*.b', '*.1', '1.1.1.1', 'x'.repeat(64), `*.${'a.'.repeat(130)}`],
  ],
  [
    isLabelKey,
    ['a', 'a_b.c', 'example.com/a', 'A', 'a'.repeat(63)],
    ['', '/', 'a/', '/a', '-a', 'a-', 'a b', 'a_b/c', 'a/b/c', 'a'.repeat(64), `${'a.'.repeat(127)}b/c`],
  ],
  [isLabelValue, ['', 'a', 'A_b.c-1', 'a'.repeat(100)], ['-a', 'a_', 'a b', 'a$']],
  [isUnixPath, ['/a', '/a/b', '@a'], ['', 'a', '/a/', '/']],
];

for (const [test, yes, no] of table) {
  t.test(`${test.name} follows Istio's validation`, async (t) => {
    for (const text of yes) t.ok(test(text), `${JSON.stringify(text.slice(0, 80))} is one`);
    for (const text of no) t.notOk(test(text), `${JSON.stringify(text.slice(0, 80))} is none`);
  });
}

t.test('one spelling for each host', async (t) => {
  t.equal(canonicalHost('A.Example.com.'), 'a.example.com');
});
