import { setTimeout as sleep } from 'node:timers/promises';
import type { Bookinfo } from '../demo/bookinfo.ts';
import { readPage, type Visit } from '../demo/pages.ts';
import { topology } from '../demo/topology.ts';
import { type Check, eventually, expect, expectComplete, figure, visit } from './check.ts';

/** Every service gets a new certificate while requests are on their way; none is lost. */
export const rotation: Check = {
  name: 'certificates rotate under load without losing a request',
  async run(bookinfo) {
    const before = generations(bookinfo);
    let done = false;
    const visits: Visit[] = [];
    const lane = async (): Promise<void> => {
      while (!done) {
        visits.push(await readPage(bookinfo.url, visits.length % 2 === 0 ? { 'end-user': 'jason' } : {}));
        await sleep(5);
      }
    };
    const load = Promise.all([lane(), lane(), lane(), lane()]);
    try {
      await eventually('not every service got a new certificate', 40_000, () => {
        const now = generations(bookinfo);
        return topology.every(({ name }) => (now.get(name) ?? 0) > (before.get(name) ?? 0)) || undefined;
      });
      // A while longer: connections that were made with the old certificate are replaced now.
      await sleep(2_000);
    } finally {
      done = true;
      await load;
    }
    expectComplete(visits);
    const now = generations(bookinfo);
    const renewals = topology.reduce((sum, { name }) => sum + (now.get(name) ?? 0) - (before.get(name) ?? 0), 0);
    return `${renewals} renewals in ${topology.length} services, ${figure(visits.length)} requests, 0 lost`;
  },
};

function generations(bookinfo: Bookinfo): Map<string, number> {
  return new Map([...bookinfo.figures].map(([name, { stats }]) => [name, stats.identity?.generation ?? 0]));
}

/** A service dies as in a crash. The pages go on without what it gave them, and recover. */
export const ratingsDie: Check = {
  name: 'with ratings killed the page still answers, and recovers',
  async run(bookinfo) {
    const ratings = topology.find(({ app }) => app === 'ratings');
    expect(ratings !== undefined, 'there is no service ratings');
    const opened = circuitOpened(bookinfo, ratings.name);
    await bookinfo.kill(ratings.name);
    const visits = await visit(bookinfo, 200, { 'end-user': 'jason' });
    const good = visits.filter(({ page }) => page?.details.ok && page.reviews.ok).length;
    expect(good === visits.length, `${visits.length - good} of ${visits.length} pages failed`);
    const reasons = new Set(visits.map(ratingsFailure));
    expect(!reasons.has(undefined), 'a page shows ratings although nobody gives them');
    const circuit = await Promise.race([opened, sleep(5_000, false, { ref: false })]);
    expect(circuit, 'no caller opened its circuit to ratings');
    const restarted = performance.now();
    await bookinfo.startService(ratings);
    await eventually('no stars after ratings came back', 15_000, async () => {
      const [visited] = await visit(bookinfo, 1, { 'end-user': 'jason' });
      return visited !== undefined && ratingsFailure(visited) === undefined ? true : undefined;
    });
    const seconds = ((performance.now() - restarted) / 1_000).toFixed(1);
    return `${good} of ${visits.length} pages without stars, circuit opened, stars back ${seconds} s after the restart`;
  },
};

function circuitOpened(bookinfo: Bookinfo, workload: string): Promise<boolean> {
  return new Promise((resolve) => {
    bookinfo.on('message', function listen(_from, message) {
      if (message.kind !== 'endpoint' || message.healthy || message.workload !== workload) return;
      bookinfo.off('message', listen);
      resolve(true);
    });
  });
}

/** Why this page has no ratings; undefined when it has them. */
function ratingsFailure({ page }: Visit): string | undefined {
  if (!page?.reviews.ok) return 'no reviews';
  const { ratings } = page.reviews.value;
  return ratings !== undefined && 'failed' in ratings ? ratings.failed : undefined;
}
