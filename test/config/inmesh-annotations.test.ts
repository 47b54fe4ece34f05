import t from 'tap';
import { good, problems, serviceYaml } from './support.ts';

const split = 'route: [{destination: {host: reviews}, weight: 1}, {destination: {host: other}, weight: 1}]';
const withAnnotations = (annotations: string, http = `{name: canary, ${split}}`): string =>
  `${serviceYaml()}${serviceYaml('other')}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop, annotations: {${annotations}}}
spec: {hosts: [reviews], http: [${http}]}
`;
const sticky = (value: unknown, http?: string): string =>
  withAnnotations(`inmesh.dev/sticky: ${JSON.stringify(JSON.stringify(value))}`, http);
const routes = (yaml: string) => good(yaml).routes('reviews:80');

t.test('a sticky split: what identifies the caller, and where the choice travels', async (t) => {
  const seed = 'shop/v canary';
  const cases: readonly (readonly [value: object, expected: object])[] = [
    [
      { route: 'canary', header: 'X-User' },
      { key: { kind: 'header', name: 'x-user' }, seed },
    ],
    [{ cookie: 'Session' }, { key: { kind: 'cookie', name: 'Session' }, seed }],
    [
      { route: 'http[0]', claim: 'sub' },
      { key: { kind: 'claim', name: 'sub' }, seed },
    ],
    [{ principal: true }, { key: { kind: 'principal' }, seed }],
    [
      { header: 'a', baggage: 'reviews-canary' },
      { key: { kind: 'header', name: 'a' }, baggage: 'reviews-canary', seed },
    ],
    [
      { header: 'a', seed: 'x' },
      { key: { kind: 'header', name: 'a' }, seed: 'x' },
    ],
  ];
  for (const [value, expected] of cases) t.same(routes(sticky(value))[0]?.sticky, expected, JSON.stringify(value));
});

t.test('of several the first that is for the rule counts', async (t) => {
  const http = `{name: a, match: [{uri: {exact: /a}}], ${split}}, {match: [{uri: {exact: /b}}], ${split}}, {${split}}`;
  const found = routes(sticky([{ route: 'a', header: 'x' }, { route: 'http[1]', header: 'y' }, { header: 'z' }], http));
  t.match(found, [
    { sticky: { key: { name: 'x' }, seed: 'shop/v a' } },
    { sticky: { key: { name: 'y' }, seed: 'shop/v http[1]' } },
    { sticky: { key: { name: 'z' } } },
  ]);
  const one = routes(sticky({ route: 'a', header: 'x' }, http));
  t.notOk('sticky' in (one[1] ?? {}));
});

t.test('without annotations nothing is sticky and faults are those of calls', async (t) => {
  const fault = 'fault: {abort: {httpStatus: 500, percentage: {value: 1}}}';
  const [route] = routes(withAnnotations('', `{${fault}, ${split}}`));
  t.notOk('sticky' in (route ?? {}));
  t.equal(route?.fault?.level, 'call');
  t.equal(routes(withAnnotations('inmesh.dev/fault-level: call', `{${fault}, ${split}}`))[0]?.fault?.level, 'call');
  t.equal(routes(withAnnotations('inmesh.dev/fault-level: try', `{${fault}, ${split}}`))[0]?.fault?.level, 'try');
});

t.test('a time without a byte after which a try is given up', (t) => {
  const [route] = routes(withAnnotations('inmesh.dev/per-try-idle-timeout: 1m30s'));
  t.equal(route?.perTryIdleMs, 90_000);
  t.equal(route?.sticky, undefined);
  t.notOk('perTryIdleMs' in (routes(withAnnotations(''))[0] ?? {}));
  t.end();
});

t.test('a member of the baggage is a condition where the resource says so', async (t) => {
  const http = `{match: [{headers: {"@baggage.Canary": {exact: v2}, x: {}}}], ${split}}`;
  t.match(routes(withAnnotations('inmesh.dev/baggage: enabled', http))[0]?.matches, [
    { headers: [{ name: 'x' }], baggage: [{ name: 'Canary', match: { kind: 'exact', value: 'v2' } }] },
  ]);
  const message = /must be the name of a header; with the annotation inmesh\.dev\/baggage: enabled it is a condition/;
  t.match(problems(withAnnotations('', http)).join('\n'), message);
  t.match(problems(withAnnotations('inmesh.dev/baggage: disabled', http)).join('\n'), message);
  const without = http.replace('headers', 'withoutHeaders');
  t.match(problems(withAnnotations('inmesh.dev/baggage: enabled', without)), [/must be the name of a header/]);
});

t.test('annotations are in the report', async (t) => {
  const { report } = good(sticky({ header: 'a' }));
  t.match(
    report.entries.filter(({ field }) => field.startsWith('metadata')),
    [{ field: 'metadata.annotations["inmesh.dev/sticky"]', status: 'enforced' }],
  );
  const alone = good(sticky({ header: 'a' }, '{route: [{destination: {host: reviews}}]}'));
  t.match(alone.remarks(), [/inmesh\.dev\/sticky"\] ignored \(warning\): there is nothing to choose/]);
});

const refusals: readonly (readonly [annotations: string, message: RegExp])[] = [
  ['inmesh.dev/stick: a', /is not an annotation that is known here \(did you mean inmesh\.dev\/sticky\?\)/],
  ['inmesh.dev/fault-level: all', /must be call or try, got "all"/],
  ['inmesh.dev/per-try-idle-timeout: 0s', /must be a duration of at least 1ms, like 5s, got "0s"/],
  ['inmesh.dev/per-try-idle-timeout: soon', /must be a duration of at least 1ms, like 5s, got "soon"/],
  ['inmesh.dev/baggage: "yes"', /must be enabled or disabled, got "yes"/],
  ['inmesh.dev/sticky: x-user', /must be JSON/],
  ['inmesh.dev/sticky: "1"', /must be an object, or a list of such/],
  ['inmesh.dev/sticky: "[[]]"', /must be an object/],
  [`inmesh.dev/sticky: '{}'`, /exactly one of header, cookie, claim and principal/],
  [`inmesh.dev/sticky: '{"header":"a","cookie":"b"}'`, /exactly one of/],
  [`inmesh.dev/sticky: '{"header":""}'`, /must have a text as header/],
  [`inmesh.dev/sticky: '{"principal":false}'`, /must have true as principal/],
  [`inmesh.dev/sticky: '{"header":"a b"}'`, /must not have a b as a name/],
  [`inmesh.dev/sticky: '{"header":"a","baggage":"b c"}'`, /must not have b c as a name/],
  [`inmesh.dev/sticky: '{"heder":"a"}'`, /has the unknown field heder/],
  [`inmesh.dev/sticky: '{"header":"a","route":"none"}'`, /names a route that is not there: none/],
];
for (const [annotations, message] of refusals) {
  t.test(`refused: ${annotations}`, async (t) => t.match(problems(withAnnotations(annotations)).join('\n'), message));
}

t.test('a limit of faults at once, and faults that callers ask for', async (t) => {
  const fault = 'fault: {abort: {httpStatus: 500, percentage: {value: 1}}}';
  const faultOf = (annotations: string, rule = `{${fault}, ${split}}`) =>
    routes(withAnnotations(annotations, rule))[0]?.fault;
  t.match(faultOf('inmesh.dev/max-active-faults: "7"'), { level: 'call', maxActive: 7, abort: { percent: 1 } });
  t.match(faultOf('inmesh.dev/fault-headers: enabled'), { byHeaders: { maxPercent: 100 }, abort: { percent: 1 } });
  t.same(faultOf('inmesh.dev/fault-headers: "30"', `{${split}}`), { level: 'call', byHeaders: { maxPercent: 30 } });
  t.equal(faultOf('inmesh.dev/fault-headers: disabled', `{${split}}`), undefined);
  t.equal(faultOf('inmesh.dev/max-active-faults: "7"', `{${split}}`), undefined);
});

t.test('limits and headers of faults that say nothing sensible are refused', async (t) => {
  const cases = [
    ['inmesh.dev/max-active-faults: "-1"', 'must be a whole number, got "-1"'],
    ['inmesh.dev/max-active-faults: many', 'must be a whole number, got "many"'],
    ['inmesh.dev/fault-headers: "0"', 'must be enabled, disabled or a percentage from 1 to 100, got "0"'],
    ['inmesh.dev/fault-headers: "101"', 'must be enabled, disabled or a percentage from 1 to 100'],
    [
      'inmesh.dev/fault-headers: enabled, inmesh.dev/fault-level: try',
      'is for faults of calls, and fault-level says try',
    ],
  ] as const;
  for (const [annotations, expected] of cases) {
    const found = problems(withAnnotations(annotations));
    t.ok(
      found.some((each) => each.includes(expected)),
      `${annotations}: ${found.join('; ')}`,
    );
  }
});
