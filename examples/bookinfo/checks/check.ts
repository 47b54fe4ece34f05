import { setTimeout as sleep } from 'node:timers/promises';
import type { Bookinfo } from '../demo/bookinfo.ts';
import { isComplete, readPage, reviewsVersion, type Visit } from '../demo/pages.ts';

/** One thing that the demo promises. */
export interface Check {
  readonly name: string;
  /** Returns the figures to print; throws, with a message for people, when the promise is broken. */
  run(bookinfo: Bookinfo): Promise<string>;
}

/** Throws when the condition does not hold. */
export function expect(condition: boolean | undefined, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}

/** Waits until the probe returns something. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1_000} s`);
    await sleep(25);
  }
}

/** Asks for the page `count` times, `concurrency` at once. */
export async function visit(
  bookinfo: Bookinfo,
  count: number,
  headers: Readonly<Record<string, string>> = {},
  concurrency = 8,
): Promise<Visit[]> {
  const visits: Visit[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) visits.push(await readPage(bookinfo.url, headers));
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, lane));
  return visits;
}

/** How many pages each version of reviews answered. */
export function versionsOf(visits: readonly Visit[]): Readonly<Record<'v1' | 'v2' | 'v3', number>> {
  const count = (version: string): number => visits.filter(({ page }) => reviewsVersion(page) === version).length;
  return { v1: count('v1'), v2: count('v2'), v3: count('v3') };
}

/** Throws when a page did not come or lacks a part, and says which. */
export function expectComplete(visits: readonly Visit[]): void {
  const bad = visits.filter(({ page }) => !isComplete(page));
  expect(bad.length === 0, `${bad.length} of ${visits.length} pages incomplete, the first: ${describeVisit(bad[0])}`);
}

function describeVisit(visit: Visit | undefined): string {
  if (visit?.page === undefined)
    return `status ${visit?.status}, ${visit !== undefined && 'error' in visit ? visit.error : ''}`;
  const { details, reviews } = visit.page;
  if (!details.ok) return `details: ${details.reason}`;
  if (!reviews.ok) return `reviews: ${reviews.reason}`;
  const { ratings } = reviews.value;
  return ratings !== undefined && 'failed' in ratings ? `ratings: ${ratings.failed}` : 'complete';
}

/** `12,345`. */
export const figure = (value: number): string => value.toLocaleString('en');
