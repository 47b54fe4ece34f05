import t from 'tap';
import { good, problems, serviceYaml } from './support.ts';

const rule = (annotations: string, spec = '', name = 'd'): string => `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: shop, annotations: {${annotations}}}
spec: {host: reviews${spec === '' ? '' : `, ${spec}`}}
`;
const yaml = (annotations: string, spec?: string): string => serviceYaml() + rule(annotations, spec);

t.test('a balancer of inmesh goes before the one that sidecars understand', async (t) => {
  const cases: readonly (readonly [annotations: string, spec: string, expected: string])[] = [
    ['', '', 'LEAST_REQUEST'],
    ['', 'trafficPolicy: {loadBalancer: {simple: RANDOM}}', 'RANDOM'],
    ['inmesh.dev/load-balancer: PEAK_EWMA', '', 'PEAK_EWMA'],
    ['inmesh.dev/load-balancer: PEAK_EWMA', 'trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}', 'PEAK_EWMA'],
  ];
  for (const [annotations, spec, expected] of cases) {
    t.equal(good(yaml(annotations, spec)).cluster('reviews|80|')?.balance, expected, `${annotations} ${spec}`);
  }
});

t.test('it holds for every subset', async (t) => {
  const spec = 'subsets: [{name: v1, labels: {version: v1}}]';
  const route = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
`;
  const { cluster } = good(yaml('inmesh.dev/load-balancer: PEAK_EWMA', spec) + route);
  t.equal(cluster('reviews|80|v1')?.balance, 'PEAK_EWMA');
});

t.test('of rules that are taken together the first that says something counts', async (t) => {
  const both = serviceYaml() + rule('', '', 'a') + rule('inmesh.dev/load-balancer: PEAK_EWMA', '', 'b');
  t.equal(good(both).cluster('reviews|80|')?.balance, 'PEAK_EWMA');
});

t.test('where the key of a request decides, or the caller, there is nothing to balance', async (t) => {
  for (const [loadBalancer, named] of [
    ['consistentHash: {httpHeaderName: x-user}', 'consistentHash'],
    ['simple: PASSTHROUGH', 'simple: PASSTHROUGH'],
  ]) {
    const spec = `trafficPolicy: {loadBalancer: {${loadBalancer}}}`;
    const remarks = good(yaml('inmesh.dev/load-balancer: PEAK_EWMA', spec)).remarks();
    t.match(
      remarks.join('\n'),
      `metadata.annotations["inmesh.dev/load-balancer"] ignored (warning): spec.trafficPolicy.loadBalancer has ${named}`,
    );
  }
});

t.test('a balance factor belongs to the consistent hash of the rule, wherever that stands', async (t) => {
  const hash = 'loadBalancer: {consistentHash: {httpHeaderName: x-user}}';
  const key = 'inmesh.dev/hash-balance-factor';
  for (const value of [100, 150, 4_294_967_295]) {
    const { cluster, remarks } = good(yaml(`${key}: "${value}"`, `trafficPolicy: {${hash}}`));
    t.match(cluster('reviews|80|')?.hash, { balanceFactor: value, key: { name: 'x-user' } });
    t.same(remarks(), []);
  }
  const ported = `trafficPolicy: {portLevelSettings: [{port: {number: 80}, ${hash}}]}`;
  t.match(good(yaml(`${key}: "150"`, ported)).cluster('reviews|80|')?.hash, { balanceFactor: 150 });
  const subset = `subsets: [{name: v1, trafficPolicy: {${hash}}}]`;
  t.same(good(yaml(`${key}: "150"`, subset)).remarks(), []);
  t.equal(good(yaml('x/y: z', `trafficPolicy: {${hash}}`)).cluster('reviews|80|')?.hash?.balanceFactor, undefined);
  const without = good(yaml(`${key}: "150"`));
  t.match(without.remarks().join(), 'there is no consistentHash in this rule');
  t.equal(without.cluster('reviews|80|')?.hash, undefined);
});

t.test('annotations are in the report; those of others are nobody’s business here', async (t) => {
  const { report } = good(yaml('inmesh.dev/load-balancer: PEAK_EWMA, example.com/x: y'));
  t.match(
    report.entries.filter(({ field }) => field.startsWith('metadata')),
    [{ field: 'metadata.annotations["inmesh.dev/load-balancer"]', status: 'enforced' }],
  );
});

t.test('a subset of many endpoints', async (t) => {
  t.notOk('subsetSize' in (good(yaml('')).cluster('reviews|80|') ?? {}));
  for (const [text, size] of [
    ['"20"', 20],
    ['"1"', 1],
    ['"100000"', 100_000],
  ] as const) {
    t.equal(good(yaml(`inmesh.dev/subset-size: ${text}`)).cluster('reviews|80|')?.subsetSize, size);
  }
  const spec = 'trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}';
  const remarks = good(yaml('inmesh.dev/subset-size: "20"', spec)).remarks().join('\n');
  t.match(
    remarks,
    'metadata.annotations["inmesh.dev/subset-size"] ignored (warning): spec.trafficPolicy.loadBalancer has consistentHash',
  );
});

const refusals: readonly (readonly [annotations: string, message: RegExp])[] = [
  ['inmesh.dev/load-balancer: RANDOM', /inmesh\.dev\/load-balancer.*must be PEAK_EWMA or UTILIZATION, got "RANDOM"/],
  ['inmesh.dev/load-balancer: peak_ewma', /must be PEAK_EWMA/],
  ['inmesh.dev/load-balancer: ""', /must be PEAK_EWMA/],
  [
    'inmesh.dev/load-balance: PEAK_EWMA',
    /is not an annotation that is known here \(did you mean inmesh\.dev\/load-balancer\?\)/,
  ],
  ...['99', '0', '-150', '150.5', '1e3', '4294967296', '', '150%'].map(
    (value) => [`inmesh.dev/hash-balance-factor: "${value}"`, /must be a whole number of percent from 100/] as const,
  ),
  ['inmesh.dev/subset-size: "0"', /inmesh\.dev\/subset-size.*must be a whole number from 1 to 100000, got "0"/],
  ['inmesh.dev/subset-size: "-1"', /must be a whole number/],
  ['inmesh.dev/subset-size: "2.5"', /must be a whole number/],
  ['inmesh.dev/subset-size: "020"', /must be a whole number/],
  ['inmesh.dev/subset-size: "100001"', /must be a whole number/],
  ['inmesh.dev/subset-size: all', /must be a whole number/],
  ['inmesh.dev/sticky: "{}"', /is not an annotation that is known here/],
];
for (const [annotations, message] of refusals) {
  t.test(`refused: ${annotations}`, async (t) => t.match(problems(yaml(annotations)).join('\n'), message));
}
