import type { Picker } from '../../src/balance/candidate.ts';
import { LatencyMemory } from '../../src/balance/peak-ewma.ts';
import { type Balancing, createPickers, type Pickers } from '../../src/balance/pickers.ts';
import type { ReportMemory } from '../../src/balance/utilization.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { Random } from '../../src/lib/random.ts';
import type { BalancePolicy } from '../../src/model/cluster.ts';

/** How the clients of one run choose. */
export interface BalancerChoice {
  readonly policy: BalancePolicy | HashPolicy;
  /** Each client calls so many of the servers; absent: all. */
  readonly subsetSize?: number;
}

/** By the key of the request, with Istio's defaults. */
export type HashPolicy = 'RING_HASH' | 'MAGLEV';

/** Do all clients choose alike? */
export function isByKey({ policy }: BalancerChoice): boolean {
  return policy === 'RING_HASH' || policy === 'MAGLEV';
}

/** The choice in the words of the model. */
function balancingOf({ policy, subsetSize }: BalancerChoice): Balancing {
  const size = subsetSize === undefined ? {} : { subsetSize };
  switch (policy) {
    case 'RING_HASH':
      return { balance: 'LEAST_REQUEST', hash: { algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } } };
    case 'MAGLEV':
      return { balance: 'LEAST_REQUEST', hash: { algorithm: { kind: 'maglev', tableSize: 65_537 } } };
    default:
      return { balance: policy, ...size };
  }
}

/** A server as one client sees it. */
export class SimulatedEndpoint {
  readonly name: string;
  /** Place of the server in the world. */
  readonly server: number;
  readonly weight: number;
  readonly available: boolean;
  inFlight: number;
  reports: ReportMemory | undefined;
  #latency: LatencyMemory | undefined;

  constructor(name: string, server: number) {
    this.name = name;
    this.server = server;
    this.weight = 1;
    this.available = true;
    this.inFlight = 0;
    this.reports = undefined;
    this.#latency = undefined;
  }

  get latency(): LatencyMemory {
    return (this.#latency ??= new LatencyMemory());
  }
}

/** Redraws for an endpoint that has not failed this request, as the runtime does (Istio: 5). */
const reselections = 5;

/** One process that calls: the balancing of inmesh, over endpoints of its own. */
export class SimulatedClient {
  readonly #balancing: Balancing;
  readonly #pickers: Pickers<SimulatedEndpoint>;
  readonly #endpoints: Map<number, SimulatedEndpoint>;
  #picker: Picker<SimulatedEndpoint>;

  constructor(instance: string, choice: BalancerChoice, clock: Clock, random: Random) {
    this.#balancing = balancingOf(choice);
    this.#pickers = createPickers({ clock, random, instance, warm: () => {} });
    this.#endpoints = new Map();
    this.#picker = () => undefined;
  }

  /** These are the servers from now on. What is remembered of those that stay is kept. */
  discover(names: ReadonlyMap<number, string>): void {
    for (const server of this.#endpoints.keys()) if (!names.has(server)) this.#endpoints.delete(server);
    for (const [server, name] of names) {
      if (!this.#endpoints.has(server)) this.#endpoints.set(server, new SimulatedEndpoint(name, server));
    }
    const all = [...this.#endpoints.values()];
    this.#pickers.use(this.#balancing, all);
    this.#picker = this.#pickers.of(all, 0);
  }

  /** Where a try goes, not where this request failed before if there is another. */
  pick(hash: bigint | undefined, failed: SimulatedEndpoint | undefined): SimulatedEndpoint | undefined {
    const first = this.#picker(hash);
    if (failed === undefined || first !== failed) return first;
    for (let attempt = 1; attempt <= reselections; attempt++) {
      const next = this.#picker(hash, attempt);
      if (next !== failed) return next;
    }
    return first;
  }
}
