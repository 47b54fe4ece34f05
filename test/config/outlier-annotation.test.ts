import t from 'tap';
import { readOutlierAnnotation } from '../../src/config/outlier-annotation.ts';
import { good, problems, serviceYaml } from './support.ts';

const rule = (value: string, spec = 'trafficPolicy: {outlierDetection: {}}'): string => `${serviceYaml()}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: shop, annotations: {inmesh.dev/outlier-detection: '${value}'}}
spec: {host: reviews, ${spec}}
`;

t.test('what Istio cannot say is added to outlierDetection', async (t) => {
  const rows: readonly (readonly [string, object])[] = [
    ['{}', {}],
    ['{"alwaysEjectOneHost": true}', { alwaysEjectOne: true }],
    ['{"maxEjectionTime": "10m", "maxEjectionTimeJitter": "5s"}', { maxEjectionMs: 600_000, ejectionJitterMs: 5_000 }],
    ['{"successRateMinimumHosts": 3}', { successRate: { minimumHosts: 3, requestVolume: 100, stdevFactor: 1_900 } }],
    [
      '{"enforcingSuccessRate": 50}',
      { successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1_900 }, enforcing: { success_rate: 50 } },
    ],
    [
      '{"failurePercentageThreshold": 50, "failurePercentageRequestVolume": 10, "failurePercentageMinimumHosts": 2}',
      { failurePercentage: { threshold: 50, minimumHosts: 2, requestVolume: 10 } },
    ],
    [
      '{"successRateRequestVolume": 20, "successRateStdevFactor": 1000}',
      { successRate: { minimumHosts: 5, requestVolume: 20, stdevFactor: 1_000 } },
    ],
    ['{"enforcingConsecutive5xx": 0}', { enforcing: { consecutive_5xx: 0 } }],
    ['{"successfulActiveHealthCheckUnejectHost": false}', { healthCheckReturns: false }],
  ];
  for (const [value, expected] of rows) {
    t.same(readOutlierAnnotation(value), expected, value);
    t.match(good(rule(value)).cluster('reviews|80|')?.outlier, { consecutive5xx: 5, ...expected }, value);
  }
});

t.test('it holds where the rule has outlierDetection, and nowhere else', async (t) => {
  const spec = 'trafficPolicy: {portLevelSettings: [{port: {number: 80}, outlierDetection: {}}]}';
  t.match(good(rule('{"alwaysEjectOneHost": true}', spec)).cluster('reviews|80|')?.outlier, { alwaysEjectOne: true });
  const none = good(rule('{"alwaysEjectOneHost": true}', 'trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}'));
  t.equal(none.cluster('reviews|80|')?.outlier, undefined);
  t.match(none.remarks().join('\n'), /outlier-detection"\] ignored \(warning\): there is no outlierDetection/);
});

const refusals: readonly (readonly [string, RegExp])[] = [
  ['x', /must be JSON/],
  ['[]', /must be a JSON object/],
  ['null', /must be a JSON object/],
  ['{"alwaysEjectOne": true}', /has the unknown field alwaysEjectOne \(did you mean alwaysEjectOneHost\?\)/],
  ['{"alwaysEjectOneHost": 1}', /must have true or false as alwaysEjectOneHost/],
  ['{"enforcingSuccessRate": 101}', /must have a whole number from 0 to 100 as enforcingSuccessRate/],
  ['{"successRateMinimumHosts": 1.5}', /must have a whole number as successRateMinimumHosts/],
  ['{"successRateMinimumHosts": "5"}', /must have a whole number as successRateMinimumHosts/],
  ['{"maxEjectionTime": "soon"}', /must have a duration such as "30s" as maxEjectionTime/],
  ['{"maxEjectionTime": 30}', /must have a duration such as "30s" as maxEjectionTime/],
];
for (const [value, message] of refusals) {
  t.test(`refused: ${value}`, async (t) => t.match(problems(rule(value)).join('\n'), message));
}
