import fc from 'fast-check';
import t from 'tap';
import { formatLoadReport, type LoadReport, parseLoadReport } from '../../src/lib/load-report.ts';

const report = (utilization: number, rps: number, eps = 0): LoadReport => ({ utilization, rps, eps });

const good: readonly (readonly [header: string, expected: LoadReport])[] = [
  ['TEXT application_utilization=0.5,rps_fractional=100,eps=2', report(0.5, 100, 2)],
  ['TEXT cpu_utilization=0.25, rps_fractional=10', report(0.25, 10)],
  ['TEXT cpu_utilization:0.25,rps_fractional:10', report(0.25, 10)],
  ['TEXT cpu_utilization=0.9,application_utilization=0.5,rps_fractional=1e2', report(0.5, 100)],
  ['TEXT cpu_utilization=0.9,application_utilization=0,rps_fractional=100', report(0.9, 100)],
  [
    'TEXT mem_utilization=0.9,cpu_utilization=0.5,rps_fractional=7,named_metrics.queue=12,utilization.gpu=0.1',
    report(0.5, 7),
  ],
  ['JSON {"cpu_utilization":0.5,"rps_fractional":7,"eps":1,"named_metrics":{"x":1}}', report(0.5, 7, 1)],
  ['JSON {"cpuUtilization":0.5,"rpsFractional":7}', report(0.5, 7)],
  ['TEXT cpu_utilization=0.5,rps_fractional=7,eps=1000', report(0.5, 7, 7)],
  ['TEXT cpu_utilization=1e300,rps_fractional=1e300,eps=1', report(1_000, 10_000_000, 1)],
];
for (const [header, expected] of good) {
  t.test(`a report: ${header}`, async (t) => t.same(parseLoadReport(header), expected));
}

const bad: readonly string[] = [
  '',
  'TEXT',
  'TEXT ',
  'BIN CgkAAAA=',
  'cpu_utilization=0.5,rps_fractional=7',
  'text cpu_utilization=0.5,rps_fractional=7',
  'TEXT cpu_utilization=0.5',
  'TEXT rps_fractional=7',
  'TEXT cpu_utilization=0,rps_fractional=7',
  'TEXT cpu_utilization=0.5,rps_fractional=0',
  'TEXT cpu_utilization=-0.5,rps_fractional=7',
  'TEXT cpu_utilization=0.5,rps_fractional=-7',
  'TEXT cpu_utilization=0.5,rps_fractional=7,eps=-1',
  'TEXT cpu_utilization=NaN,rps_fractional=7',
  'TEXT cpu_utilization=Infinity,rps_fractional=7',
  'TEXT cpu_utilization="0.5",rps_fractional=7',
  'TEXT cpu_utilization=,rps_fractional=7',
  'TEXT cpu_utilization=0.5,rps_fractional=7,',
  'TEXT cpu_utilization=0.5,cpu_utilization=0.1,rps_fractional=7',
  'JSON',
  'JSON {',
  'JSON null',
  'JSON 1',
  'JSON []',
  'JSON {"cpu_utilization":"0.5","rps_fractional":7}',
  'JSON {"cpu_utilization":-1,"rps_fractional":7}',
  'JSON {"cpu_utilization":0.5,"cpuUtilization":0.1,"rps_fractional":7}',
  `TEXT cpu_utilization=0.5,rps_fractional=7,${'x'.repeat(2_000)}=1`,
];
for (const header of bad) {
  t.test(`no report: ${header.slice(0, 60)}`, async (t) => t.equal(parseLoadReport(header), undefined));
}

t.test('whatever a server sends, what comes out is bounded or nothing', async (t) => {
  const part = fc.oneof(
    fc.constantFrom('TEXT ', 'JSON ', 'cpu_utilization', 'rps_fractional', 'eps', '=', ':', ',', '{', '}', '"', '1e9'),
    fc.string({ maxLength: 6 }),
    fc.double().map(String),
  );
  const run = fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
    for (const header of [parts.join(''), `TEXT ${parts.join('')}`, `JSON ${parts.join('')}`]) {
      const found = parseLoadReport(header);
      if (found === undefined) continue;
      const { utilization, rps, eps } = found;
      if (!(utilization > 0 && utilization <= 1_000 && rps > 0 && rps <= 1e7 && eps >= 0 && eps <= rps)) return false;
    }
    return true;
  });
  fc.assert(run, { numRuns: 2_000, seed: 1 });
  t.ok(true);
});

t.test('what is written is read again', async (t) => {
  for (const format of ['TEXT', 'JSON'] as const) {
    t.same(parseLoadReport(formatLoadReport(report(0.31234567, 120.5, 0.25), format)), report(0.3123, 120.5, 0.25));
  }
  t.equal(formatLoadReport(report(0.5, 10, 0), 'TEXT'), 'TEXT application_utilization=0.5,rps_fractional=10,eps=0');
});
