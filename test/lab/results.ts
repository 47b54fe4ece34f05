import { createSubset } from '../../src/balance/subset.ts';
import type { BalancerChoice } from './client.ts';
import { type Outcome, simulate, type World } from './simulate.ts';
import { fleet, oneRefusing, oneSlow, type Size, small } from './worlds.ts';

/** Figures of one run, rounded: what the documentation shows. */
export interface RunFigures extends BalancerChoice {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errorPercent: number;
  /** Requests of the server with the most, as a multiple of the mean. */
  readonly peakToMean: number;
  readonly connections: number;
  /** Of the server that has the most of them. */
  readonly mostConnections: number;
}

/** One odd server among ten. */
export interface OddFigures extends BalancerChoice {
  readonly p99Ms: number;
  /** Against the same world without the odd one. */
  readonly timesHealthy: number;
  /** Share of the requests that the odd one gets. */
  readonly oddPercent: number;
}

/** How a fleet is spread by subsets of one size, and what moves when a server leaves. */
export interface SubsetFigures {
  readonly size: number;
  readonly connections: number;
  readonly fewest: number;
  readonly most: number;
  readonly peakToMean: number;
  /** Connections that are made anew when one server in a hundred leaves, on average for each that left. */
  readonly movedPerServer: number;
}

export interface Results extends Size {
  readonly seed: number;
  readonly fleet: readonly RunFigures[];
  readonly oneSlow: readonly OddFigures[];
  readonly oneRefusing: readonly OddFigures[];
  readonly subsets: readonly SubsetFigures[];
}

/** Endpoints that each client calls where subsets are compared with all. */
export const subsetSize = 20;
const policies = ['ROUND_ROBIN', 'RANDOM', 'LEAST_REQUEST', 'PEAK_EWMA', 'UTILIZATION'] as const;
const subsetSizes: readonly number[] = [5, 10, 20, 50, 100];

/** Balancers as they are compared in the fleet. */
export const fleetChoices: readonly BalancerChoice[] = [
  ...policies.flatMap((policy) => [{ policy }, { policy, subsetSize }]),
  { policy: 'RING_HASH' },
  { policy: 'MAGLEV' },
];

/** Runs everything. `progress` is told before each part. */
export function runAll(size: Size, seed: number, progress: (text: string) => void = () => {}): Results {
  const runs = fleetChoices.map((choice) => {
    progress(`fleet: ${nameOf(choice)}`);
    return runFleet(size, choice, seed);
  });
  progress('one slow server, one that refuses, subsets');
  return {
    ...size,
    seed,
    fleet: runs,
    oneSlow: policies.map((policy) => runOdd(oneSlow, { policy }, seed)),
    oneRefusing: policies.map((policy) => runOdd(oneRefusing, { policy }, seed)),
    subsets: subsetSizes.filter((each) => each < size.servers).map((each) => spread(size, each)),
  };
}

/** `LEAST_REQUEST, 20 each`. */
export function nameOf({ policy, subsetSize: size }: BalancerChoice): string {
  return size === undefined ? policy : `${policy}, ${size} each`;
}

export function runFleet(size: Size, choice: BalancerChoice, seed: number): RunFigures {
  const { latencies, requests, errors, loads, connections } = simulate(fleet(size), choice, seed);
  return {
    ...choice,
    p50Ms: rounded(latencies.quantile(0.5)),
    p99Ms: rounded(latencies.quantile(0.99)),
    p999Ms: rounded(latencies.quantile(0.999)),
    errorPercent: rounded((100 * errors) / requests),
    peakToMean: rounded(peakToMean(loads)),
    connections: sum(connections),
    mostConnections: Math.max(...connections),
  };
}

/** What one odd server does to the requests of all. */
export function runOdd(world: World, choice: BalancerChoice, seed: number): OddFigures {
  const healthy = simulate({ ...small(), measureFromMs: world.measureFromMs }, choice, seed);
  const odd: Outcome = simulate(world, choice, seed);
  const p99 = odd.latencies.quantile(0.99);
  return {
    ...choice,
    p99Ms: rounded(p99),
    timesHealthy: rounded(p99 / healthy.latencies.quantile(0.99)),
    oddPercent: rounded((100 * (odd.loads[0] as number)) / sum(odd.loads)),
  };
}

export function spread({ clients, servers }: Size, size: number): SubsetFigures {
  const all = Array.from({ length: servers }, (_, i) => ({ name: `10.0.${i >> 8}.${i & 255}:80` }));
  // One in a hundred leaves, and at least one.
  const left = all.filter((_, i) => i % 100 !== Math.min(50, servers - 1));
  const counts = new Map(all.map((server) => [server, 0]));
  let moved = 0;
  for (let i = 0; i < clients; i++) {
    const subset = createSubset<(typeof all)[number]>(`client-${i}`, size);
    const before = subset.of(all);
    for (const server of before) counts.set(server, (counts.get(server) ?? 0) + 1);
    const known = new Set(before);
    for (const server of subset.of(left)) if (!known.has(server)) moved++;
  }
  const loads = [...counts.values()];
  return {
    size,
    connections: sum(loads),
    fewest: Math.min(...loads),
    most: Math.max(...loads),
    peakToMean: rounded(peakToMean(loads)),
    movedPerServer: rounded(moved / Math.max(1, all.length - left.length)),
  };
}

function peakToMean(loads: readonly number[]): number {
  return (Math.max(...loads) * loads.length) / sum(loads);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Three digits that count: what a table shows, and no more than a simulation can claim. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
