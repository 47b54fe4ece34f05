// A control plane in a process of its own, over a real socket: what it does costs the process that follows it nothing.
// Its parent sends it `{ number, call, argument }` and gets `{ number, result }`.
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import type { Any } from '../../packages/xds/src/proto/any.ts';
import { nameOf, type ResourceType, resourceTypes } from '../../packages/xds/src/resources.ts';
import { type FakeStream, fakeControlPlane } from '../../packages/xds/test/support/fake-control-plane.ts';
import { badCluster, endpointsOf, meshOf, type PlaneMesh, routesOf } from './plane-resources.ts';

const held = Object.fromEntries(resourceTypes.map((type) => [type, new Map<string, Any>()])) as Record<
  ResourceType,
  Map<string, Any>
>;
let stream: FakeStream | undefined;
let mesh: PlaneMesh = { clusters: 0, endpoints: 0, port: 1 };

const put = (type: ResourceType, ...all: readonly Any[]): void => {
  for (const any of all) held[type].set(nameOf(any), any);
};

/** Answers what is asked for, as long as the stream lasts. */
async function serve(given: FakeStream): Promise<void> {
  stream = given;
  const answer = async (type: ResourceType): Promise<void> => {
    let first = true;
    for (;;) {
      const { delta } = await given.next(type);
      const names = delta.resource_names_subscribe ?? [];
      const wanted = first && names.length === 0 ? [...held[type].keys()] : names;
      const all = wanted.flatMap((name) => held[type].get(name) ?? []);
      if (first || wanted.length > 0) {
        given.send(type, { resources: all, removed: wanted.filter((name) => !held[type].has(name)) });
      }
      first = false;
    }
  };
  await Promise.all(resourceTypes.map(answer));
}

/** Answers to what was sent with these nonces: how many there are, and how many refuse. */
function answers(nonces: ReadonlySet<string>): { readonly acks: number; readonly nacks: readonly string[] } {
  let acks = 0;
  const nacks: string[] = [];
  for (const { delta } of stream?.said ?? []) {
    if (!nonces.has(delta.response_nonce ?? '')) continue;
    if (delta.error_detail === undefined) acks++;
    else nacks.push(delta.error_detail.message);
  }
  return { acks, nacks };
}

const on = (): FakeStream => {
  if (stream === undefined) throw new Error('nobody follows this control plane');
  return stream;
};

const actions: Readonly<Record<string, (argument: never) => unknown>> = {
  /** What is there from the beginning. */
  hold(given: PlaneMesh) {
    mesh = given;
    for (const [type, all] of Object.entries(meshOf(given))) put(type as ResourceType, ...all);
  },
  /** New endpoints for one cluster, `changed` of them other than before. */
  change({ cluster, round, changed }: { readonly cluster: number; readonly round: number; readonly changed: number }) {
    const any = endpointsOf(mesh, cluster, round, changed);
    put('endpoints', any);
    on().send('endpoints', { resources: [any] });
  },
  /** Bad clusters and good endpoints in turn; in the end the last good ones are in force. */
  async garbage({ responses }: { readonly responses: number }) {
    const bad = new Map<string, number>();
    const good = new Set<string>();
    for (let i = 0; i < responses; i++) {
      bad.set(on().send('clusters', { resources: [badCluster(i)] }), i);
      const any = endpointsOf(mesh, i % mesh.clusters, i, 1);
      put('endpoints', any);
      good.add(on().send('endpoints', { resources: [any] }));
      if (i % 50 === 49) await pause(5);
    }
    const all = new Set([...bad.keys(), ...good]);
    for (let i = 0; i < 600 && answers(all).acks + answers(all).nacks.length < all.size; i++) await pause(50);
    const reasons = answers(new Set(bad.keys())).nacks;
    return {
      sent: all.size,
      refused: reasons.filter((reason) => /lb_policy.*"bad-\d+"|"bad-\d+".*lb_policy/.test(reason)).length,
      accepted: answers(good).acks,
    };
  },
  /** So many updates a second: two services in one response, or the routes of a port, each with its number. */
  async update({ updates, perSecond }: { readonly updates: number; readonly perSecond: number }) {
    const started = performance.now();
    const nonces = new Set<string>();
    const last = new Map<string, number>();
    for (let i = 0; i < updates; i++) {
      if (i % 2 === 0) {
        const cluster = (i >> 1) % (mesh.clusters / 2);
        const pair = [2 * cluster, 2 * cluster + 1].map((each) => endpointsOf(mesh, each, i, 1));
        put('endpoints', ...pair);
        for (const any of pair) last.set(nameOf(any), i);
        nonces.add(on().send('endpoints', { resources: pair }));
      } else {
        const any = routesOf(mesh, (i >> 1) % 10, i);
        put('routes', any);
        last.set(nameOf(any), i);
        nonces.add(on().send('routes', { resources: [any] }));
      }
      const ahead = (i * 1_000) / perSecond - (performance.now() - started);
      // Who is late must still hear the other side, or its pings go unanswered.
      if (ahead > 2) await pause(ahead);
      else if (i % 20 === 0) await turn();
    }
    const seconds = (performance.now() - started) / 1_000;
    for (let i = 0; i < 600 && answers(nonces).acks < updates; i++) await pause(50);
    const { acks, nacks } = answers(nonces);
    return { seconds, acks, nacks: nacks.length, last: Object.fromEntries(last) };
  },
};

const plane = await fakeControlPlane({ teardown: () => {} } as never);
void (async () => {
  for (;;) void serve(await plane.accept());
})();

interface Call {
  readonly number: number;
  readonly call: string;
  readonly argument: never;
}
process.on('message', ({ argument, call, number }: Call) => {
  void (async () => process.send?.({ number, result: await actions[call]?.(argument) }))();
});
process.on('disconnect', () => process.exit());
process.send?.({ address: plane.address });
