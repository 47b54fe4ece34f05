import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Test } from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { Workload } from '../../src/model/workload.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { recordingLogger } from './recording-logger.ts';
import { turns, type Upstream, upstream } from './upstream.ts';

const caller: Workload = {
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** Real servers of a shop, and a client in a mesh whose time stands still. */
export interface TaskMesh {
  readonly mesh: Mesh;
  readonly clock: FakeClock;
  /** The server of one version: `catalog v2`. */
  version(name: string): Upstream;
  /** Which version answered: `catalog v2`, or the status when none did. */
  ask(url: string, init?: RequestInit): Promise<string>;
  /** How many of `count` calls each version answered. */
  tally(url: string, count: number, init?: RequestInit): Promise<Readonly<Record<string, number>>>;
  /** Moves time until the promise settles, at most by `limitMs`; the time that it took. */
  takes<T>(promise: Promise<T>, limitMs: number): Promise<{ readonly value: T; readonly ms: number }>;
}

/** Changes what a version does; without it a version answers with its name. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse, version: string) => boolean;

/**
 * `catalog` and `stock`, three versions each, as Kubernetes Services on port 8000, with the subsets
 * `v1` to `v3`, and the YAML of a test on top.
 */
export async function taskMesh(
  t: Test,
  yaml: string,
  options: { readonly behaviour?: Behaviour; readonly mesh?: MeshOptions; readonly subsets?: false } = {},
): Promise<TaskMesh> {
  const servers = new Map<string, Upstream>();
  const documents: string[] = [];
  for (const service of ['catalog', 'stock']) {
    const endpoints: string[] = [];
    for (const version of ['v1', 'v2', 'v3']) {
      const name = `${service} ${version}`;
      const answer: RequestListener = (request, response) => {
        if (options.behaviour?.(request, response, name) === true) return;
        response.setHeader('x-version', name).end(name);
      };
      const server = await upstream(t, answer);
      servers.set(name, server);
      endpoints.push(
        `  - {address: 127.0.0.1, ports: {http: ${server.port}}, labels: {app: ${service}, version: ${version}}}`,
      );
    }
    documents.push(serviceEntry(service, endpoints));
    if (options.subsets !== false) documents.push(subsets(service));
  }
  const clock = fakeClock();
  const log = recordingLogger();
  const mesh = createMesh({
    workload: caller,
    identity: false,
    config: staticSource([...documents, yaml].join('---\n')),
    logger: log,
    random: seededRandom(1),
    clock,
    ...options.mesh,
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    const closed = mesh.close();
    clock.advance(60_000);
    await closed;
  });
  // A mesh waits for a better configuration; a test need not.
  t.same(log.messages('error'), []);
  await mesh.ready();

  const ask: TaskMesh['ask'] = async (url, init) => {
    const response = await mesh.fetch(url, init);
    const text = await response.text();
    return response.headers.get('x-version') === null ? `${response.status}` : text;
  };
  return {
    mesh,
    clock,
    version: (name) => servers.get(name) as Upstream,
    ask,
    async tally(url, count, init) {
      const seen: Record<string, number> = {};
      for (let i = 0; i < count; i++) {
        const answer = await ask(url, init);
        seen[answer] = (seen[answer] ?? 0) + 1;
      }
      return seen;
    },
    async takes(promise, limitMs) {
      let settled = false;
      const end = (): void => void (settled = true);
      promise.then(end, end);
      const begin = clock.now();
      const stepMs = limitMs / 100;
      await turns(30);
      while (!settled && clock.now() - begin < limitMs) {
        clock.advance(stepMs);
        await turns(30);
      }
      return { value: await promise, ms: clock.now() - begin };
    },
  };
}

const serviceEntry = (service: string, endpoints: readonly string[]): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${service}, namespace: shop}
spec:
  hosts: [${service}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8000, name: http, protocol: HTTP}]
  endpoints:
${endpoints.join('\n')}
`;

const subsets = (service: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${service}, namespace: shop}
spec:
  host: ${service}
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
`;
