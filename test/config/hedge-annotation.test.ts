import t from 'tap';
import { good, problems, serviceYaml } from './support.ts';

const to = 'route: [{destination: {host: reviews}}]';
const yaml = (
  hedge: string,
  http = `[{name: a, match: [{uri: {prefix: /a}}], ${to}}, {${to}}]`,
): string => `${serviceYaml()}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: v
  namespace: shop
  annotations: {inmesh.dev/hedge: '${hedge}'}
spec: {hosts: [reviews], http: ${http}}
`;
const hedges = (text: string, http?: string): unknown =>
  good(yaml(text, http))
    .routes('reviews:80')
    .map(({ hedge }) => hedge);

t.test('when another try starts beside one that takes long', async (t) => {
  const table: readonly (readonly [text: string, wanted: object])[] = [
    ['{"percentile": 95}', { when: { kind: 'percentile', percentile: 95, minMs: 1 } }],
    [
      '{"percentile": 99.9, "min": "20ms", "attempts": 2}',
      { when: { kind: 'percentile', percentile: 99.9, minMs: 20 }, hedges: 2 },
    ],
    ['{"after": "50ms"}', { when: { kind: 'after', ms: 50 } }],
    ['{"perTryTimeout": true}', { when: { kind: 'perTryTimeout' } }],
  ];
  for (const [text, wanted] of table) t.same(hedges(text), [wanted, wanted], text);
});

t.test('of several the first that is for a rule counts', async (t) => {
  const first = { when: { kind: 'after', ms: 1 } };
  const second = { when: { kind: 'after', ms: 2 } };
  t.same(hedges('[{"route": "a", "after": "1ms"}, {"after": "2ms"}]'), [first, second]);
  t.same(hedges('{"route": "http[1]", "after": "1ms"}'), [undefined, first]);
});

t.test('what says nothing sensible is refused', async (t) => {
  const table: readonly (readonly [text: string, why: RegExp])[] = [
    ['95', /must be an object/],
    ['[1]', /must be an object/],
    ['{', /must be JSON/],
    ['{}', /exactly one of perTryTimeout, after, percentile/],
    ['{"after": "1s", "percentile": 95}', /exactly one/],
    ['{"percentil": 95}', /unknown field percentil/],
    ['{"percentile": 100}', /from 50 to 99.99/],
    ['{"percentile": "95"}', /from 50 to 99.99/],
    ['{"percentile": 95, "min": "0ms"}', /as min/],
    ['{"after": "1s", "min": "1s"}', /min with percentile only/],
    ['{"after": "soon"}', /as after/],
    ['{"after": 50}', /as after/],
    ['{"perTryTimeout": false}', /true as perTryTimeout/],
    ['{"after": "1s", "attempts": 0}', /from 1 to 5 as attempts/],
    ['{"after": "1s", "attempts": 1.5}', /from 1 to 5 as attempts/],
    ['{"after": "1s", "route": 1}', /a text as route/],
    ['{"after": "1s", "route": "b"}', /names a route that is not there: b/],
  ];
  for (const [text, why] of table) t.match(problems(yaml(text)).join('\n'), why, text);
});

t.test('a wait for a perTryTimeout that no rule has is warned about', async (t) => {
  const remark = /hedge"\] ignored \(warning\): there is no time to wait for/;
  t.match(good(yaml('{"perTryTimeout": true}')).remarks().join('\n'), remark);
  const http = `[{${to}, retries: {attempts: 1, perTryTimeout: 1s}}]`;
  t.notMatch(good(yaml('{"perTryTimeout": true}', http)).remarks().join('\n'), remark);
});
