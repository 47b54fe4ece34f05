// Control planes that send too much, or what nobody can use: over a real stream, from a process of its own.
import { xdsSource } from '@inmesh/xds';
import type { Snapshot } from '../../../src/model/snapshot.ts';
import type { ChaosCase } from '../case.ts';
import { heapMiB } from '../heap.ts';
import type { Lab, LabMesh } from '../lab.ts';
import { load, loopDelays, ownDelays, percentile, type Tally, within } from '../load.ts';
import { clusterName, firstPort, hostOf } from '../plane-resources.ts';
import { type PlaneProcess, planeProcess } from '../planes.ts';
import { httpServer } from '../servers.ts';

const clusters = 100;

interface Followed {
  readonly plane: PlaneProcess;
  readonly mesh: LabMesh;
  /** Snapshots that came into force. */
  readonly snapshots: () => number;
  readonly current: () => Snapshot | undefined;
  /** Streams that were begun; more than one, and answers of the first are lost. */
  readonly streams: () => number;
  /** Snapshots with half of a response in them. */
  readonly halves: () => number;
}

/** A mesh that follows a control plane with a hundred services, each of which is there. */
async function follow(lab: Lab): Promise<Followed> {
  // One server answers at every address of loopback.
  const { port } = await httpServer(lab, undefined, { host: '0.0.0.0' });
  const plane = await planeProcess(lab);
  await plane.hold({ clusters, endpoints: 1_000, port });
  const source = xdsSource({ server: { address: plane.address, tls: false }, node: { addresses: ['127.0.0.1'] } });
  let snapshots = 0;
  let halves = 0;
  let current: Snapshot | undefined;
  const mesh = await lab.mesh([], {
    config: {
      name: source.name,
      run: (sink, signal, context) =>
        source.run(
          {
            ...sink,
            update(snapshot, report) {
              snapshots++;
              current = snapshot;
              for (let i = 0; i < clusters; i += 2) {
                if (numberOf(snapshot, i) !== numberOf(snapshot, i + 1)) halves++;
              }
              sink.update(snapshot, report);
            },
          },
          signal,
          context,
        ),
    },
  });
  return {
    plane,
    mesh,
    snapshots: () => snapshots,
    current: () => current,
    streams: () => source.status().servers[0]?.streams ?? 0,
    halves: () => halves,
  };
}

/** Number of the update that the endpoints of a cluster are of. */
function numberOf(snapshot: Snapshot | undefined, cluster: number): number {
  const discovery = snapshot?.clusters.get(clusterName(cluster))?.discovery;
  return discovery?.kind === 'static' ? (discovery.endpoints[0]?.weight ?? 0) - 1 : Number.NaN;
}

/** Of the routes of a port: the time they give. */
function routesNumber(snapshot: Snapshot | undefined, port: number): number {
  const host = snapshot?.hosts.get(`${hostOf(port - firstPort)}:${port}`);
  return (host?.routes[0]?.timeoutMs ?? Number.NaN) - 1_000_000;
}

/** Calls while something happens; they are to notice nothing. */
async function underLoad(lab: Lab, { mesh, streams }: Followed, work: () => Promise<void>): Promise<readonly number[]> {
  let over = false;
  let tally: Tally | undefined;
  let own: readonly number[] = [];
  const delays = await loopDelays(async () => {
    own = await ownDelays(async () => {
      const loading = load(mesh, {
        count: 1e9,
        concurrency: 2,
        pauseMs: 10,
        url: `http://${hostOf(0)}:${firstPort}`,
        headers: { 'x-call': 'cp' },
        enough: () => over,
      });
      await work();
      over = true;
      tally = await loading;
    });
  });
  lab.equal(`failed of ${tally?.calls} calls meanwhile`, tally?.failures, 0);
  lab.equal('streams', streams(), 1);
  lab.time('delay of the event loop, p99', percentile(delays, 0.99), 20, 300);
  lab.note(`delay of the event loop at most ${(delays.at(-1) ?? 0).toFixed(1)} ms`);
  lab.atMost('of it by processor time of this thread, p99', percentile(own, 0.99), 20, ' ms');
  lab.note(`by processor time at most ${(own.at(-1) ?? 0).toFixed(1)} ms`);
  return delays;
}

const garbage: ChaosCase = {
  id: 'CP-06',
  fault: 'sends garbage: 1,000 bad responses mixed with good ones',
  expected: 'each is refused with its reason, the good ones apply; none lost, memory stays flat',
  async run(lab) {
    const followed = await follow(lab);
    const { current, plane, snapshots } = followed;
    const responses = lab.count(1_000, 300, 50);
    // The first round fills what is remembered of names that were refused, which is bounded.
    await plane.garbage({ responses: 1_000 });
    const before = await heapMiB();
    const from = snapshots();
    let result: Awaited<ReturnType<PlaneProcess['garbage']>> | undefined;
    await underLoad(lab, followed, async () => {
      result = await plane.garbage({ responses });
    });
    lab.equal(`refused by name and field, of ${responses}`, result?.refused, responses);
    lab.equal(`good ones acknowledged, of ${responses}`, result?.accepted, responses);
    const wanted = Array.from({ length: clusters }, (_, i) => responses - clusters + i).filter((i) => i >= 0);
    const applied = (): number => wanted.filter((i) => numberOf(current(), i % clusters) === i).length;
    await within(60_000, () => applied() === wanted.length);
    lab.equal('last good endpoints in force', applied(), wanted.length);
    lab.note(`${snapshots() - from} snapshots`);
    lab.atMost('growth of the heap', (await heapMiB()) - before, 5, ' MiB');
  },
};

const updates: ChaosCase = {
  id: 'CP-14',
  fault: '100,000 updates of endpoints and routes, 1,000 a second',
  expected: 'put together and applied whole; none lost, memory and event loop do not notice',
  async run(lab) {
    const followed = await follow(lab);
    const { current, halves, plane, snapshots } = followed;
    const count = lab.count(100_000, 10_000, 1_000);
    await plane.update({ updates: lab.count(5_000, 2_000, 500), perSecond: 1_000 });
    const before = await heapMiB();
    const from = snapshots();
    let result: Awaited<ReturnType<PlaneProcess['update']>> | undefined;
    await underLoad(lab, followed, async () => {
      result = await plane.update({ updates: count, perSecond: 1_000 });
    });
    lab.equal(`acknowledged of ${count}`, result?.acks, count);
    lab.note(`${Math.round(count / (result?.seconds ?? 1))} updates a second for ${result?.seconds.toFixed(1)} s`);
    const last = Object.entries(result?.last ?? {});
    const inForce = (): number =>
      last.filter(([name, number]) => {
        const cluster = Number(/service-(\d+)\./.exec(name)?.[1] ?? -1);
        return number === (cluster === -1 ? routesNumber(current(), Number(name)) : numberOf(current(), cluster));
      }).length;
    await within(60_000, () => inForce() === last.length);
    lab.equal('resources whose last update is in force', inForce(), last.length);
    lab.equal('snapshots with half of a response', halves(), 0);
    lab.check(snapshots() - from < count, `${snapshots() - from} snapshots of ${count} updates`);
    lab.atMost('growth of the heap', (await heapMiB()) - before, 5, ' MiB');
  },
};

export const loadCases: readonly ChaosCase[] = [garbage, updates];
