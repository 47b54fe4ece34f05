import type { Random } from '../../src/lib/random.ts';
import type { OutlierPolicy } from '../../src/model/cluster.ts';
import { createOutlierDetector, type OutlierDetector } from '../../src/outlier/detector.ts';
import { newOutlierHost, type OutlierHost } from '../../src/outlier/host.ts';
import { newOutlierStats, type OutlierStats } from '../../src/outlier/stats.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';

export interface OutlierTestHost {
  readonly name: string;
  outlier: OutlierHost;
  retired: boolean;
}

export interface OutlierCluster {
  readonly clock: FakeClock;
  create(policy?: OutlierPolicy): OutlierDetector<OutlierTestHost>;
  readonly detector: OutlierDetector<OutlierTestHost>;
  /** `h0 out`, `h0 in`. */
  readonly events: string[];
  host(i: number): OutlierTestHost;
  readonly hosts: OutlierTestHost[];
  readonly policy: OutlierPolicy;
  readonly stats: OutlierStats;
  report(i: number, ...statuses: readonly number[]): void;
  /** Takes a host out of the cluster. */
  leave(i: number): OutlierTestHost;
  join(outlier: OutlierHost, name: string): void;
}

/** A cluster of `count` hosts, `h0` and so on. Everybody may be ejected unless the policy says otherwise. */
export function outlierCluster(
  count: number,
  changes: Partial<OutlierPolicy> = {},
  random: Random = () => 0.5,
): OutlierCluster {
  const clock = fakeClock();
  const policy: OutlierPolicy = {
    consecutive5xx: 5,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
    ...changes,
  };
  const hosts: OutlierTestHost[] = Array.from({ length: count }, (_, i) => ({
    name: `h${i}`,
    outlier: newOutlierHost(),
    retired: false,
  }));
  const stats = newOutlierStats();
  const events: string[] = [];
  const create = (with_: OutlierPolicy = policy) =>
    createOutlierDetector<OutlierTestHost>({
      policy: with_,
      clock,
      random,
      stats,
      hosts: () => hosts,
      changed: (all) => {
        for (const { name, outlier } of all) events.push(`${name} ${outlier.ejectedUntil === 0 ? 'in' : 'out'}`);
      },
    });
  const detector = create();
  const host = (i: number): OutlierTestHost => hosts[i] as OutlierTestHost;
  return {
    clock,
    create,
    detector,
    events,
    host,
    hosts,
    policy,
    stats,
    report(i: number, ...statuses: readonly number[]): void {
      for (const status of statuses) detector.report(host(i), status);
    },
    /** Takes a host out of the cluster. */
    leave(i: number): OutlierTestHost {
      const [gone] = hosts.splice(i, 1) as [OutlierTestHost];
      gone.retired = true;
      detector.membersChanged();
      return gone;
    },
    join(outlier: OutlierHost, name: string): void {
      hosts.push({ name, outlier, retired: false });
      detector.membersChanged();
    },
  };
}

export function errors(times: number, status = 500): number[] {
  return Array.from({ length: times }, () => status);
}
