/** What counts of the endpoints of one priority. */
export interface LevelHealth {
  readonly total: number;
  readonly available: number;
}

/** What each priority gets. */
export interface PriorityLoads {
  /** Whole percents by priority; their sum is 100. */
  readonly loads: readonly number[];
  /** Priorities in which all endpoints are called, available or not. */
  readonly panic: readonly boolean[];
}

/**
 * So much more than its share can be put on an endpoint before a lower priority has to help
 * (Envoy's default `overprovisioning_factor` of 140 %).
 */
const overprovisioningPercent = 140;

/** How much of the whole load a priority could carry, 0 to 100 (Envoy's priority health). */
export function availabilityOf({ total, available }: LevelHealth): number {
  return total === 0 ? 0 : Math.min(100, Math.floor((overprovisioningPercent * available) / total));
}

/** What part of its weight a locality gets, 0 to 1: all of it as long as it can carry that. */
export function localityLoad({ total, available }: LevelHealth): number {
  return total === 0 ? 0 : Math.min(1, (overprovisioningPercent / 100) * (available / total));
}

/**
 * Shares the tries among priorities as Envoy does: as much as possible to the first, what it cannot
 * carry to the next. Where all together cannot carry it, those panic of which less than
 * `panicPercent` is available; where all panic, each gets its share of all the endpoints. 0 never
 * panics.
 */
export function priorityLoads(levels: readonly LevelHealth[], panicPercent: number): PriorityLoads {
  const availability = levels.map(availabilityOf);
  const whole = sum(availability) >= 100;
  const panic = levels.map(
    ({ total, available }) => !whole && (total === 0 ? 0 : (100 * available) / total) < Math.min(100, panicPercent),
  );
  const sizes = panic.every(Boolean) ? levels.map(({ total }) => total) : availability;
  return { loads: sizes === availability ? distribute(sizes, 100) : distribute(sizes), panic };
}

/**
 * The loads of a try that shall not go to priorities in which tries failed already (Envoy's
 * `previous_priorities`): the others share what theirs was. Nothing: no other priority is left.
 */
export function loadsWithout(
  levels: readonly LevelHealth[],
  excluded: ReadonlySet<number>,
): readonly number[] | undefined {
  const availability = levels.map((level, priority) => (excluded.has(priority) ? 0 : availabilityOf(level)));
  return sum(availability) === 0 ? undefined : distribute(availability, 100);
}

/**
 * Whole percents by size, as much as possible to the first ones: from a whole of `most` on they take
 * all. What rounding leaves goes to the first one that has any.
 */
function distribute(sizes: readonly number[], most = Number.POSITIVE_INFINITY): readonly number[] {
  const total = Math.min(most, sum(sizes));
  if (total === 0) return sizes.map((_, priority) => (priority === 0 ? 100 : 0));
  let left = 100;
  const loads = sizes.map((size) => {
    const load = Math.min(left, Math.floor((size * 100) / total));
    left -= load;
    return load;
  });
  const first = sizes.findIndex((size) => size > 0);
  loads[first] = (loads[first] as number) + left;
  return loads;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
