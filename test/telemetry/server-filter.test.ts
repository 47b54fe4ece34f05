import t from 'tap';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { serverSeries } from '../../src/telemetry/server-filter.ts';

const labels = { destinationService: 's', destinationWorkload: 'w', destinationVersion: '' };

t.test('each caller has a series, up to a bound; the rest share one', async (t) => {
  const metrics = createMetrics({ maxSeries: 1_001 });
  const seriesOf = serverSeries(metrics, labels);
  const peer = (i: number) => ({ spiffeId: `spiffe://td/a${i}`, trustDomain: 'td' });
  t.equal(seriesOf(peer(0)), seriesOf(peer(0)));
  t.equal(seriesOf(undefined), seriesOf(undefined));
  for (let i = 0; i < 1_100; i++) seriesOf(peer(i)).record(200, '', 1);
  const all = metrics.snapshot();
  t.equal(all.length, 1_002);
  t.equal(all.find((series) => series.labels.sourcePrincipal === 'other')?.requests, 100);
});
