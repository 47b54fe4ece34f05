import t from 'tap';
import type { ServiceFigures } from '../../examples/bookinfo/demo/bookinfo.ts';
import { type Row, Rows } from '../../examples/bookinfo/demo/rows.ts';
import type { MeshStats } from '../../src/mesh-api.ts';
import { bucketBoundsMs, type SeriesSnapshot } from '../../src/telemetry/metrics.ts';

/** Calls that one process made (or served) so far, all of them quick. */
function series(
  reporter: 'source' | 'destination',
  service: string,
  version: string,
  ok: number,
  failed = 0,
): SeriesSnapshot {
  return {
    labels: {
      reporter,
      sourceWorkload: 'productpage-v1',
      sourcePrincipal: 'unknown',
      destinationService: `${service}.bookinfo.svc.cluster.local`,
      destinationWorkload: 'unknown',
      destinationVersion: version,
    },
    requests: ok + failed,
    statuses: { 200: ok, 503: failed },
    flags: {},
    buckets: bucketBoundsMs.map((_, i) => (i === 3 ? ok + failed : 0)),
    sumMs: 0,
    outcomes: [],
    requestMessages: 0,
    responseMessages: 0,
  };
}

function figures(name: string, pid: number, requests: readonly SeriesSnapshot[], open?: string): ServiceFigures {
  const stats: MeshStats = {
    workload: {
      name,
      namespace: 'bookinfo',
      serviceAccount: 'x',
      labels: {},
      trustDomain: 'cluster.local',
      clusterDomain: 'cluster.local',
    },
    configVersion: '1',
    identity: { spiffeId: 'spiffe://cluster.local/ns/bookinfo/sa/x', notBefore: 0, notAfter: 90_000, generation: 1 },
    identityHealth: undefined,
    connections: { accepted: 0, plaintextRefused: 0, tlsRefused: 0, handshakesFailed: 0, handshakeFailures: {} },
    requests,
    tcp: [],
    accessLogDropped: 0,
    config: { accepted: 1, rejected: 0, lost: 0, acceptedAt: 0 },
    clusters: [],
    egress: [],
    rateLimits: [],
    jwks: [],
    authorizers: [],
    endpoints:
      open === undefined
        ? []
        : [{ cluster: 'c', address: '127.0.0.1:1', workload: open, healthy: false, inFlight: 0, ejections: 1 }],
    breakers: [],
    routes: [],
    faults: { active: 0, delays: 0, aborts: 0, overflow: 0 },
    overload: undefined,
    authorization: [],
  };
  return { pid, stats, certifiedAt: 0 };
}

function rowsOf() {
  const observed = {
    figures: new Map<string, ServiceFigures>(),
    running: (name: string) => observed.figures.has(name),
  };
  return { observed, rows: new Rows(observed) };
}

const find = (rows: readonly Row[], service: string, version = 'v1'): Row =>
  rows.find((row) => row.service === service && row.version === version) as Row;

t.test('rates, shares and success are those of the last seconds', async (t) => {
  const { observed, rows } = rowsOf();
  const set = (v1: number, v3: number, bad: number): void => {
    const calls = [series('source', 'reviews', 'v1', v1), series('source', 'reviews', 'v3', v3, bad)];
    observed.figures.set('productpage-v1', figures('productpage-v1', 1, calls));
  };
  set(1_000, 0, 0);
  rows.next(0);
  set(1_090, 8, 2);
  const now = rows.next(2_000);
  t.equal(find(now, 'reviews', 'v1').perSecond, 45);
  t.equal(find(now, 'reviews', 'v1').share, 0.9);
  t.equal(find(now, 'reviews', 'v1').success, 1);
  t.equal(find(now, 'reviews', 'v3').perSecond, 5);
  t.equal(find(now, 'reviews', 'v3').success, 0.8);
  t.equal(find(now, 'reviews', 'v2').share, 0);
  t.equal(find(now, 'reviews', 'v2').success, undefined);
  t.equal(find(now, 'details').share, undefined);
  t.ok(find(now, 'reviews').p50Ms > 1 && find(now, 'reviews').p99Ms <= 2);
});

t.test('after a new configuration the shares are counted anew', async (t) => {
  const { observed, rows } = rowsOf();
  const set = (v1: number, v3: number): void => {
    const calls = [series('source', 'reviews', 'v1', v1), series('source', 'reviews', 'v3', v3)];
    observed.figures.set('productpage-v1', figures('productpage-v1', 1, calls));
  };
  set(0, 0);
  rows.next(0);
  set(100, 0);
  rows.next(2_000);
  rows.configChanged(2_000);
  set(100, 100);
  t.equal(find(rows.next(3_000), 'reviews', 'v3').share, 1);
});

t.test('a process that was started again counts from zero and never below', async (t) => {
  const { observed, rows } = rowsOf();
  observed.figures.set(
    'productpage-v1',
    figures('productpage-v1', 1, [series('destination', 'productpage', 'v1', 500)]),
  );
  rows.next(0);
  observed.figures.set(
    'productpage-v1',
    figures('productpage-v1', 2, [series('destination', 'productpage', 'v1', 10)]),
  );
  t.equal(find(rows.next(1_000), 'productpage').perSecond, 10);
});

t.test('a dead process is down, and callers say whose circuit is open', async (t) => {
  const { observed, rows } = rowsOf();
  observed.figures.set('reviews-v2', figures('reviews-v2', 1, [series('source', 'ratings', '', 0, 5)], 'ratings-v1'));
  const ratings = find(rows.next(10_000), 'ratings');
  t.equal(ratings.running, false);
  t.equal(ratings.certificate, undefined);
  t.same(ratings.openFor, ['reviews-v2']);
  const reviews = find(rows.next(11_000), 'reviews', 'v2');
  t.same(reviews.certificate, { ageMs: 11_000, leftMs: 79_000, generation: 1 });
});
