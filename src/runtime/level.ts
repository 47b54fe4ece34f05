import type { Picker } from '../balance/candidate.ts';
import { drawByWeight } from '../balance/draw.ts';
import { earliestDeadlineFirst } from '../balance/edf.ts';
import { createPicker } from '../balance/picker.ts';
import type { Pickers } from '../balance/pickers.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { type LevelHealth, localityLoad } from '../locality/priority-load.ts';
import { wholeShare, zoneShares } from '../locality/zone-aware.ts';
import type { Cluster, LocalityBalance } from '../model/cluster.ts';
import type { Callers } from '../model/snapshot.ts';
import type { EndpointState } from './endpoint.ts';

type Zones = Extract<LocalityBalance, { kind: 'zones' }>;
type Weighted = Extract<LocalityBalance, { kind: 'weighted' }>;

/** What a priority is made of. */
export interface LevelParts {
  readonly policy: Cluster;
  readonly priority: number;
  readonly endpoints: readonly EndpointState[];
  readonly size: LevelHealth;
  /** So few are available that all are called. */
  readonly panics: boolean;
  readonly dependencies: LevelDependencies;
  readonly pickers: Pickers<EndpointState>;
}

/** What choosing needs from outside. */
export interface LevelDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Name of this process among others of its workload. Default ''. */
  readonly instance?: string;
  /** See {@link Snapshot.callers}. */
  callers(): Callers | undefined;
}

/** The endpoints of one priority. What it takes to choose among them is made when it is needed first. */
export class Level implements LevelHealth {
  readonly size: LevelHealth;
  readonly #parts: LevelParts;
  #usable: readonly EndpointState[] | undefined;
  #picker: Picker<EndpointState> | undefined;

  constructor(parts: LevelParts) {
    this.size = parts.size;
    this.#parts = parts;
    this.#usable = undefined;
    this.#picker = undefined;
  }

  get total(): number {
    return this.size.total;
  }

  get available(): number {
    return this.size.available;
  }

  /** Those that may be chosen. */
  get usable(): readonly EndpointState[] {
    const { endpoints, panics } = this.#parts;
    const all = panics || this.size.available === endpoints.length;
    this.#usable ??= all ? endpoints : endpoints.filter((endpoint) => endpoint.available);
    return this.#usable;
  }

  /** One that is not to be avoided, drawn by weight: of the own subset if there is one. */
  other(avoid: readonly object[]): EndpointState | undefined {
    const { dependencies, pickers } = this.#parts;
    const fits = (endpoint: EndpointState): boolean => !avoid.includes(endpoint);
    const reached = this.#reached();
    const ours = pickers.ours(reached).filter(fits);
    const left = ours.length > 0 ? ours : reached.filter(fits);
    const weights = left.map(({ weight }) => weight || 1);
    return left[drawByWeight(weights, dependencies.random)()];
  }

  /** Those that may be chosen and are in no locality that gets nothing. */
  #reached(): readonly EndpointState[] {
    const { panics, policy, priority } = this.#parts;
    if (policy.localities?.kind !== 'weighted' || panics) return this.usable;
    const open = new Set(
      policy.localities.weights.flatMap((each) => (each.priority === priority && each.weight > 0 ? each.locality : [])),
    );
    const reached = this.usable.filter(({ endpoint }) => open.has(endpoint.locality));
    return reached.length > 0 ? reached : this.usable;
  }

  get picker(): Picker<EndpointState> {
    this.#picker ??= this.#createPicker();
    return this.#picker;
  }

  #createPicker(): Picker<EndpointState> {
    const { localities, hash } = this.#parts.policy;
    if (hash !== undefined) {
      return (localities?.kind === 'weighted' ? this.#keyed(localities) : undefined) ?? this.#pickerOf(this.usable);
    }
    if (localities === undefined || this.#parts.panics) return this.#pickerOf(this.usable);
    return (
      (localities.kind === 'weighted' ? this.#weighted(localities) : this.#zoned(localities)) ??
      this.#pickerOf(this.usable)
    );
  }

  #pickerOf(endpoints: readonly EndpointState[]): Picker<EndpointState> {
    const { pickers, priority } = this.#parts;
    return pickers.of(endpoints, priority);
  }

  /**
   * Keys choose among all endpoints of the priority, with the weights of localities multiplied into
   * their own, and zones do not count: as in Envoy, also that health takes nothing from a locality.
   */
  #keyed({ weights }: Weighted): Picker<EndpointState> | undefined {
    const { pickers, priority } = this.#parts;
    const sums = new Map<string, number>();
    for (const { endpoint, weight } of this.usable) {
      sums.set(endpoint.locality, (sums.get(endpoint.locality) ?? 0) + weight);
    }
    const factors = new Map<string, number>();
    for (const each of weights) {
      const sum = each.priority === priority ? (sums.get(each.locality) ?? 0) : 0;
      if (sum > 0 && each.weight > 0) factors.set(each.locality, each.weight / sum);
    }
    const endpoints = this.usable.filter(({ endpoint }) => factors.has(endpoint.locality));
    if (endpoints.length === 0) return undefined;
    return pickers.of(endpoints, priority, ({ endpoint, weight }) => weight * (factors.get(endpoint.locality) ?? 0));
  }

  /** Localities by their weights, less where so few are available that they cannot carry it. */
  #weighted({ weights }: Weighted): Picker<EndpointState> | undefined {
    const { dependencies, priority } = this.#parts;
    const groups = this.#byLocality();
    const candidates = weights.flatMap((each) => {
      const group = each.priority === priority ? groups.get(each.locality) : undefined;
      const weight = group === undefined ? 0 : each.weight * localityLoad(group);
      if (group === undefined || weight === 0) return [];
      return [{ weight, inFlight: 0, pick: this.#pickerOf(group.endpoints) }];
    });
    const [single] = candidates;
    if (single === undefined) return undefined;
    if (candidates.length === 1) return single.pick;
    const next = earliestDeadlineFirst(candidates, dependencies.random, ({ weight }) => weight);
    return (hash, attempt) => next().pick(hash, attempt);
  }

  /** The own locality as far as it can carry what comes from there, the rest elsewhere. */
  #zoned({ minClusterSize, own }: Zones): Picker<EndpointState> | undefined {
    const { dependencies, priority } = this.#parts;
    const { callers, random } = dependencies;
    const known = priority === 0 ? callers() : undefined;
    if (known === undefined) return undefined;
    const groups = [...this.#byLocality()].map(([locality, { available, endpoints }]) => ({
      locality,
      size: available,
      endpoints,
    }));
    const shares = zoneShares(groups, known, own, minClusterSize);
    if (shares === undefined) return undefined;
    const mine = groups.find(({ locality }) => locality === own);
    const home = mine === undefined ? undefined : this.#pickerOf(mine.endpoints);
    if (home !== undefined && shares.own === wholeShare) return home;
    const others = groups.map(({ endpoints }, index) => ({
      weight: shares.others[index] as number,
      inFlight: 0,
      pick: this.#pickerOf(endpoints),
    }));
    const elsewhere = createPicker('RANDOM', others, random);
    return (hash, attempt) =>
      home !== undefined && random() * wholeShare < shares.own ? home(hash, attempt) : elsewhere()?.pick(hash, attempt);
  }

  #byLocality(): ReadonlyMap<string, Group> {
    const groups = new Map<string, Group>();
    for (const state of this.#parts.endpoints) {
      const { locality } = state.endpoint;
      let group = groups.get(locality);
      if (group === undefined) groups.set(locality, (group = { total: 0, available: 0, endpoints: [] }));
      if (!state.excluded) group.total++;
      if (!state.available) continue;
      group.available++;
      group.endpoints.push(state);
    }
    return groups;
  }
}

/** The endpoints of one locality, and those of them that are available. */
interface Group {
  total: number;
  available: number;
  readonly endpoints: EndpointState[];
}
