import fc from 'fast-check';
import type { Test } from 'tap';
import type { Candidate, Picker } from '../../src/balance/candidate.ts';
import { type Random, seededRandom } from '../../src/lib/random.ts';

/** An endpoint as balancers see it. */
export interface Host extends Candidate {
  readonly name: string;
  weight: number;
  inFlight: number;
}

/** Endpoints with these weights: `10.0.0.1:80`, `10.0.0.2:80` … */
export function hosts(...weights: readonly number[]): Host[] {
  return weights.map((weight, i) => ({
    name: `10.0.${(i + 1) >> 8}.${(i + 1) & 255}:80`,
    weight,
    inFlight: 0,
  }));
}

/** Share of each host in `times` picks. */
export function shares(pick: () => Host | undefined, all: readonly Host[], times: number): readonly number[] {
  const counts = new Map<Host | undefined, number>();
  for (let i = 0; i < times; i++) {
    const host = pick();
    counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  return all.map((host) => (counts.get(host) ?? 0) / times);
}

/** The greatest difference between what hosts got and what their weights say. */
export function error(got: readonly number[], all: readonly Host[]): number {
  const total = all.reduce((sum, { weight }) => sum + weight, 0);
  return Math.max(...got.map((share, i) => Math.abs(share - (all[i] as Host).weight / total)));
}

/** How a balancer is made and what it is given. */
export interface BalancerUnderTest {
  readonly name: string;
  /** `precise`: weights shall count to half a percent, whatever that costs. */
  create(all: readonly Host[], random: Random, precise: boolean): Picker<Host>;
  /** It chooses by the hash of the request: each pick gets another one. */
  readonly keyed?: boolean;
  /** Candidate properties that one pick may read among 10,000 candidates. Default 60: O(log n). */
  readonly readsPerPick?: number;
}

/** What every balancer promises, run for one of them. */
export function balancerSuite(t: Test, balancer: BalancerUnderTest): void {
  const { name, keyed = false, readsPerPick = 60 } = balancer;
  /** A balancer with the requests that come to it: the same seed, the same requests and draws. */
  const start = (all: readonly Host[], seed: number, precise = false): (() => Host | undefined) => {
    const pick = balancer.create(all, seededRandom(seed), precise);
    const keys = seededRandom(seed + 1_000);
    return keyed ? () => pick(randomHash(keys)) : () => pick();
  };

  t.test(`${name}: of nobody it picks nobody`, async (t) => {
    const pick = start([], 1);
    for (let i = 0; i < 3; i++) t.equal(pick(), undefined);
  });

  t.test(`${name}: one endpoint gets everything, whatever its weight and load`, async (t) => {
    for (const weight of [0, 1, 7, 4_294_967_295]) {
      const [only] = hosts(weight) as [Host];
      const pick = start([only], 2);
      for (const inFlight of [0, 1, 1_000_000]) {
        only.inFlight = inFlight;
        for (let i = 0; i < 3; i++) t.equal(pick(), only);
      }
    }
  });

  t.test(`${name}: equal weights share equally, however large they are`, async (t) => {
    for (const weight of [1, 100, 4_294_967_295 / 4]) {
      const all = hosts(weight, weight, weight, weight);
      const got = shares(start(all, 3, true), all, 200_000);
      t.ok(error(got, all) <= 0.005, String(got));
    }
  });

  t.test(`${name}: weights are honoured to half a percent`, async (t) => {
    for (const weights of [
      [1, 2, 5],
      [1, 99],
      [3, 3, 1],
      [10, 1, 1, 1, 1, 1, 1],
    ]) {
      const all = hosts(...weights);
      const got = shares(start(all, 4, true), all, 200_000);
      t.ok(error(got, all) <= 0.005, `${weights}: ${got}`);
    }
  });

  t.test(`${name}: a weight of 0 gets nothing, unless nobody has any`, async (t) => {
    const all = hosts(0, 3, 0, 1);
    const got = shares(start(all, 5, true), all, 20_000);
    t.equal(got[0], 0);
    t.equal(got[2], 0);
    t.ok(error(got, all) <= 0.02, String(got));
    const none = hosts(0, 0);
    const shared = shares(start(none, 5, true), none, 20_000);
    t.ok(
      shared.every((share) => Math.abs(share - 0.5) <= 0.02),
      String(shared),
    );
  });

  t.test(`${name}: the least and the greatest weight go together`, async (t) => {
    const all = hosts(1, 4_294_967_294);
    const got = shares(start(all, 6, true), all, 10_000);
    t.ok((got[0] as number) < 0.005, String(got));
    t.ok((got[1] as number) > 0.995, String(got));
  });

  t.test(`${name}: picks one of the set, whatever weights and loads are`, async (t) => {
    const run = fc.property(
      fc.array(fc.record({ weight: fc.integer({ min: 0, max: 1_000 }), inFlight: fc.nat(500) }), {
        minLength: 1,
        maxLength: 40,
      }),
      fc.integer({ min: 0, max: 1_000_000 }),
      (states, seed) => {
        const all = hosts(...states.map(({ weight }) => weight));
        states.forEach(({ inFlight }, i) => {
          (all[i] as Host).inFlight = inFlight;
        });
        const pick = start(all, seed);
        const some = all.some(({ weight }) => weight > 0);
        for (let i = 0; i < 50; i++) {
          const host = pick();
          if (host === undefined || !all.includes(host) || (some && host.weight === 0)) return false;
        }
        return true;
      },
    );
    fc.assert(run, { numRuns: 200, seed: 7 });
    t.ok(true);
  });

  t.test(`${name}: nobody starves`, async (t) => {
    const weights = Array.from({ length: 50 }, (_, i) => (i % 7) + 1);
    const all = hosts(...weights);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const pick = start(all, 8);
    // Twenty rounds without a pick have a chance of e^-20 even for one that is picked at random.
    const seen = new Set(Array.from({ length: total * 20 }, pick));
    t.equal(seen.size, 50);
  });

  t.test(`${name}: the cost of a pick does not grow with the number of endpoints`, async (t) => {
    let reads = 0;
    const counted = (host: Host): Host => ({
      name: host.name,
      get weight() {
        reads++;
        return host.weight;
      },
      get inFlight() {
        reads++;
        return host.inFlight;
      },
    });
    for (const weights of [(): number => 1, (i: number): number => (i % 5) + 1]) {
      const pick = start(hosts(...Array.from({ length: 10_000 }, (_, i) => weights(i))).map(counted), 9);
      // What is made on first use is not part of a pick.
      pick();
      reads = 0;
      for (let i = 0; i < 100; i++) pick();
      t.ok(reads / 100 <= readsPerPick, `${reads / 100} reads`);
    }
  });

  t.test(`${name}: the same seed and the same requests give the same picks`, async (t) => {
    for (const weights of [
      [1, 1, 1, 1],
      [1, 2, 3],
    ]) {
      const run = (seed: number): string => {
        const all = hosts(...weights);
        return Array.from({ length: 100 }, start(all, seed))
          .map((host) => host?.name)
          .join();
      };
      t.equal(run(10), run(10));
      t.ok(new Set(Array.from({ length: 20 }, (_, seed) => run(seed))).size > 1, 'and other seeds others');
    }
  });

  t.test(`${name}: a set that changes is balanced anew, with nobody who has left`, async (t) => {
    const random = seededRandom(12);
    let all = hosts(...Array.from({ length: 20 }, (_, i) => (i % 3) + 1));
    for (let round = 0; round < 30; round++) {
      const left = all.filter(() => random() < 0.8);
      const came = hosts(...Array.from({ length: 40 }, (_, i) => (i % 4) + 1)).filter(
        ({ name }) => random() < 0.1 && !left.some((host) => host.name === name),
      );
      all = [...left, ...came];
      if (all.length === 0) continue;
      const pick = start(all, round);
      const picked = new Set(Array.from({ length: 3_000 }, pick));
      t.same(
        [...picked].filter((host) => host === undefined || !all.includes(host)),
        [],
      );
      t.equal(picked.size, all.length, `round ${round}`);
    }
  });
}

function randomHash(random: Random): bigint {
  const half = (): bigint => BigInt(Math.floor(random() * 4_294_967_296));
  return (half() << 32n) | half();
}
