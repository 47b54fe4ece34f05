// Configuration by xDS, measured from a real control plane to the mesh: how long the event loop stands still.
import { setImmediate as turn } from 'node:timers/promises';
import { xdsSource } from '@inmesh/xds';
import { rbacRules } from '../../../packages/xds/src/compile/inbound-rbac.ts';
import { httpRbacSchema } from '../../../packages/xds/src/proto/envoy/rbac-filters.ts';
import { decode, encode } from '../../../packages/xds/src/proto/schema.ts';
import { atOnce } from '../../../packages/xds/src/turns.ts';
import { istioFilters } from '../../../packages/xds/test/compile/istio-policies.ts';
import type { Authorizer } from '../../../src/authz/authorizer.ts';
import { compileRbac } from '../../../src/authz/rbac.ts';
import { createMesh } from '../../../src/mesh.ts';
import type { AuthorizationPolicy } from '../../../src/model/authorization.ts';
import { clusterName } from '../../chaos/plane-resources.ts';
import { planeProcess } from '../../chaos/planes.ts';

export interface XdsResult {
  /** From the first request to a mesh that is ready: 500 clusters with 20 endpoints each. */
  readonly first: Stretch;
  /** One of 10,000 endpoints of a cluster that is called is another; all of them are. */
  readonly oneChanged: Stretch;
  readonly allChanged: Stretch;
}

export interface Stretch {
  readonly wallMs: number;
  /** Longest time in which nothing else could run. */
  readonly longestMs: number;
  /** The most processor time of one such stretch, which other programs do not disturb. */
  readonly longestCpuMs: number;
}

/** How long the event loop stood still while something happened. */
async function watched(work: () => Promise<void>): Promise<Stretch> {
  let longestMs = 0;
  let longestCpuMs = 0;
  let last = performance.now();
  let lastCpu = cpuMs();
  let over = false;
  const watch = (async () => {
    while (!over) {
      await turn();
      const now = performance.now();
      longestMs = Math.max(longestMs, now - last);
      last = now;
      const cpu = cpuMs();
      longestCpuMs = Math.max(longestCpuMs, cpu - lastCpu);
      lastCpu = cpu;
    }
  })();
  const started = performance.now();
  await work();
  const wallMs = performance.now() - started;
  over = true;
  await watch;
  return { wallMs, longestMs, longestCpuMs };
}

/** Of this thread: collections that run beside it stop nobody. Nothing where Node.js cannot tell. */
function cpuMs(): number {
  const { user = 0, system = 0 } = process.threadCpuUsage?.() ?? {};
  return (user + system) / 1_000;
}

async function follow(clusters: number, endpoints: number) {
  const ends: (() => unknown)[] = [];
  const plane = await planeProcess({ teardown: (end) => void ends.push(end) });
  await plane.hold({ clusters, endpoints, port: 9 });
  const workload = { name: 'bench', namespace: 'shop' };
  // What is loaded on first use is none of the reading.
  const source = xdsSource({ server: { address: plane.address, tls: false }, node: { addresses: ['127.0.0.1'] } });
  let mesh: ReturnType<typeof createMesh> | undefined;
  const first = await watched(async () => {
    mesh = createMesh({ workload, identity: false, config: source });
    await mesh.ready();
  });
  if (mesh === undefined) throw new Error('no mesh');
  const started = mesh;
  return {
    plane,
    mesh: started,
    first,
    async close() {
      await started.close();
      for (const end of ends) await end();
    },
  };
}

export async function measureXds(): Promise<XdsResult> {
  // Once for nothing: the code is compiled, and so it is in a process that has run for a while.
  await (await follow(100, 2_000)).close();
  const many = await follow(500, 10_000);
  await many.close();
  const large = await follow(2, 20_000);
  const { mesh, plane } = large;
  // From now on it is a cluster that is called.
  await mesh.fetch(`http://${clusterName(0).split('|')[3]}:8000/`).catch(() => {});
  const change = async (round: number, changed: number): Promise<Stretch> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = mesh.on('config', () => resolve());
    const stretch = await watched(async () => {
      await plane.change({ cluster: 0, round, changed });
      await promise;
    });
    end();
    return stretch;
  };
  const best = async (changed: number): Promise<Stretch> => {
    const all: Stretch[] = [];
    for (let round = 1; round <= 9; round++) all.push(await change(round * 10 + (changed > 1 ? 1 : 0), changed));
    return all.sort((a, b) => a.longestCpuMs - b.longestCpuMs)[4] as Stretch;
  };
  const oneChanged = await best(1);
  const allChanged = await best(10_000);
  await large.close();
  return { first: many.first, oneChanged, allChanged };
}

/** The policies as istiod hands them to a sidecar. */
export function asEnvoy(policies: readonly AuthorizationPolicy[]): Authorizer {
  const provenance = { kind: 'Listener', namespace: 'xds', name: 'virtualInbound' };
  const filters = istioFilters(policies).map((filter) => {
    const { rules } = decode(httpRbacSchema, encode(httpRbacSchema, filter));
    if (rules === undefined) throw new Error('no rules');
    return {
      provenance,
      rules: atOnce(rbacRules(rules, { provenance, payload: 'payload' }, { path: '', note: () => {} })),
    };
  });
  return compileRbac(filters);
}
