import type { MeshStats } from 'inmesh';
import { quantileMs } from 'inmesh';
import type { Bookinfo } from './bookinfo.ts';
import { namespace, type ServiceProcess, topology } from './topology.ts';

/** One line of the table: a service in one version, over the last seconds. */
export interface Row {
  readonly service: string;
  readonly version: string;
  readonly running: boolean;
  readonly perSecond: number;
  /** Part of the service's requests that this version got, 0 to 1; absent without traffic. */
  readonly share: number | undefined;
  /** Answered, and not with 5xx; absent without traffic. */
  readonly success: number | undefined;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The certificate in use; absent while the process does not run. */
  readonly certificate: { readonly ageMs: number; readonly leftMs: number; readonly generation: number } | undefined;
  /** Callers that have taken this endpoint out. */
  readonly openFor: readonly string[];
}

/** What the rows are made of. */
export type Observed = Pick<Bookinfo, 'figures' | 'running'>;

/** Counters of one service and version, as sums since the start. */
interface Totals {
  readonly requests: number;
  readonly failures: number;
  readonly buckets: readonly number[];
}

interface Sample {
  readonly at: number;
  /** By process and its pid, since a new process counts from zero. */
  readonly stats: ReadonlyMap<string, MeshStats>;
}

const rateWindowMs = 5_000;
const latencyWindowMs = 15_000;

/** Keeps the figures of the last seconds and makes the table's rows out of them. */
export class Rows {
  private readonly bookinfo: Observed;
  private samples: Sample[] = [];
  private ratesFrom = 0;

  constructor(bookinfo: Observed) {
    this.bookinfo = bookinfo;
  }

  /** A new configuration is in force: rates and shares are counted from now, to show its effect at once. */
  configChanged(now: number): void {
    this.ratesFrom = now;
  }

  /** Takes the figures as they are now, and returns the table. */
  next(now: number): Row[] {
    const stats = new Map([...this.bookinfo.figures].map(([name, f]) => [`${name}#${f.pid}`, f.stats]));
    this.samples.push({ at: now, stats });
    this.samples = this.samples.filter((sample) => sample.at >= now - latencyWindowMs - 1_000);
    const latest = this.samples.at(-1) as Sample;
    const rateBase = this.sampleAt(Math.max(now - rateWindowMs, Math.min(this.ratesFrom, now - 1_000)));
    const latencyBase = this.sampleAt(now - latencyWindowMs);
    const seconds = Math.max((latest.at - rateBase.at) / 1_000, 0.001);
    const recent = new Map(topology.map((s) => [s.name, countBetween(rateBase, latest, s)]));
    const perService = new Map<string, number>();
    for (const s of topology) perService.set(s.app, (perService.get(s.app) ?? 0) + (recent.get(s.name)?.requests ?? 0));
    return topology.map((service) => {
      const totals = recent.get(service.name) as Totals;
      const longer = countBetween(latencyBase, latest, service);
      const all = perService.get(service.app) ?? 0;
      return {
        service: service.app,
        version: service.version,
        running: this.bookinfo.running(service.name),
        perSecond: totals.requests / seconds,
        share: all === 0 ? undefined : totals.requests / all,
        success: totals.requests === 0 ? undefined : 1 - totals.failures / totals.requests,
        p50Ms: quantileMs(longer.buckets, 0.5),
        p99Ms: quantileMs(longer.buckets, 0.99),
        certificate: this.certificateOf(service.name, now),
        openFor: this.openFor(service),
      };
    });
  }

  private sampleAt(at: number): Sample {
    return this.samples.findLast((sample) => sample.at <= at) ?? (this.samples[0] as Sample);
  }

  private certificateOf(name: string, now: number): Row['certificate'] {
    const figures = this.bookinfo.figures.get(name);
    const identity = figures?.stats.identity;
    if (figures === undefined || identity === undefined) return undefined;
    return { ageMs: now - figures.certifiedAt, leftMs: identity.notAfter - now, generation: identity.generation };
  }

  private openFor(service: ServiceProcess): string[] {
    const callers = new Set<string>();
    for (const [caller, { stats }] of this.bookinfo.figures) {
      const open = stats.endpoints.some((endpoint) => !endpoint.healthy && endpoint.workload === service.name);
      if (open) callers.add(caller);
    }
    return [...callers];
  }
}

function countBetween(from: Sample, to: Sample, service: ServiceProcess): Totals {
  const a = totalsOf(from, service, to);
  const b = totalsOf(to, service, to);
  return {
    requests: Math.max(b.requests - a.requests, 0),
    failures: Math.max(b.failures - a.failures, 0),
    buckets: b.buckets.map((count, i) => Math.max(count - (a.buckets[i] ?? 0), 0)),
  };
}

/**
 * Counted where the call was made, so that a call that nobody answered counts too; for productpage,
 * whose callers are outside the mesh, where it was answered. Only processes that are in `among`.
 */
function totalsOf(sample: Sample, service: ServiceProcess, among: Sample): Totals {
  const reporter = service.app === 'productpage' ? 'destination' : 'source';
  const host = `${service.app}.${namespace}.svc.cluster.local`;
  const single = topology.filter((other) => other.app === service.app).length === 1;
  let requests = 0;
  let failures = 0;
  const buckets: number[] = [];
  for (const [process, stats] of sample.stats) {
    if (!among.stats.has(process)) continue;
    for (const series of stats.requests) {
      const { labels } = series;
      if (labels.reporter !== reporter) continue;
      const ours =
        reporter === 'destination'
          ? stats.workload.name === service.name
          : labels.destinationService === host && (single || labels.destinationVersion === service.version);
      if (!ours) continue;
      requests += series.requests;
      for (const [status, count] of Object.entries(series.statuses)) {
        if (status === '0' || Number(status) >= 500) failures += count;
      }
      series.buckets.forEach((count, i) => {
        buckets[i] = (buckets[i] ?? 0) + count;
      });
    }
  }
  return { requests, failures, buckets };
}
