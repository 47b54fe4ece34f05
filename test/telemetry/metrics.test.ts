import t from 'tap';
import { bucketBoundsMs, createMetrics, quantileMs, type SeriesLabels } from '../../src/telemetry/metrics.ts';

const labels = (changes: Partial<SeriesLabels> = {}): SeriesLabels => ({
  reporter: 'source',
  sourceWorkload: 'web',
  sourcePrincipal: 'unknown',
  destinationService: 'reviews',
  destinationWorkload: 'reviews-v1',
  destinationVersion: 'v1',
  ...changes,
});

t.test('a series counts requests by status and flag', async (t) => {
  const metrics = createMetrics();
  const series = metrics.series(labels());
  series.record(200, '', 1);
  series.record(200, '', 1);
  series.record(503, 'UF', 10);
  series.record(0, 'DC', 3);
  const [got] = metrics.snapshot();
  t.match(got, { labels: labels(), requests: 4, sumMs: 15 });
  t.same(got?.statuses, { 0: 1, 200: 2, 503: 1 });
  t.same(got?.flags, { UF: 1, DC: 1 });
});

t.test('the same labels give the same series, any other label another', async (t) => {
  const metrics = createMetrics();
  t.equal(metrics.series(labels()), metrics.series(labels()));
  const others: readonly Partial<SeriesLabels>[] = [
    { reporter: 'destination' },
    { sourceWorkload: 'x' },
    { sourcePrincipal: 'x' },
    { destinationService: 'x' },
    { destinationWorkload: 'x' },
    { destinationVersion: 'x' },
    // no two sets of labels run into each other
    { sourceWorkload: 'webunknown', sourcePrincipal: '' },
  ];
  for (const other of others) metrics.series(labels(other));
  t.equal(metrics.snapshot().length, 1 + others.length);
});

t.test('a status that does not exist counts as none', async (t) => {
  const metrics = createMetrics();
  for (const status of [-1, 600, 70_000]) metrics.series(labels()).record(status, '', 1);
  t.same(metrics.snapshot()[0]?.statuses, { 0: 3 });
});

t.test('durations fall into the bucket whose bound they do not exceed', async (t) => {
  const metrics = createMetrics();
  const series = metrics.series(labels());
  for (const bound of bucketBoundsMs) series.record(200, '', bound);
  series.record(200, '', 1e12);
  t.same(
    metrics.snapshot()[0]?.buckets,
    Array.from({ length: bucketBoundsMs.length + 1 }, () => 1),
  );
  series.record(200, '', 0);
  t.equal(metrics.snapshot()[0]?.buckets[0], 2);
});

t.test('a snapshot does not change afterwards', async (t) => {
  const metrics = createMetrics();
  metrics.series(labels()).record(200, '', 1);
  const [before] = metrics.snapshot();
  metrics.series(labels()).record(200, 'UF', 1);
  t.equal(before?.requests, 1);
  t.same(before?.statuses, { 200: 1 });
  t.same(before?.flags, {});
  t.equal(
    before?.buckets.reduce((sum, count) => sum + count, 0),
    1,
  );
});

t.test('quantiles are linear within a bucket, as in Prometheus', async (t) => {
  const buckets = bucketBoundsMs.map(() => 0).concat(0);
  t.ok(Number.isNaN(quantileMs(buckets, 0.5)), 'nothing counted');
  buckets[bucketBoundsMs.indexOf(10)] = 50;
  buckets[bucketBoundsMs.indexOf(100)] = 50;
  // 7.5 to 10 holds the lower half, 50 to 100 the upper one
  t.equal(quantileMs(buckets, 0.25), 8.75);
  t.equal(quantileMs(buckets, 0.5), 10);
  t.equal(quantileMs(buckets, 0.75), 75);
  t.equal(quantileMs(buckets, 0.99), 99);
  t.equal(quantileMs(buckets, 1), 100);
  t.equal(quantileMs(buckets, 0), 7.5);
});

t.test('the first bucket begins at 0, the last has no upper end', async (t) => {
  const first = bucketBoundsMs.map(() => 0).concat(0);
  first[0] = 10;
  t.equal(quantileMs(first, 0.5), 0.125);
  const last = bucketBoundsMs.map(() => 0).concat(10);
  t.equal(quantileMs(last, 0.5), bucketBoundsMs.at(-1));
});
