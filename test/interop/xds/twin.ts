import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type XdsSource, type XdsSourceOptions, xdsSource } from '@inmesh/xds';
import {
  type ConfigProblem,
  compile,
  type EnforcementReport,
  parseYaml,
  type Snapshot,
  type Workload,
} from 'inmesh/config';
import {
  createExplainer,
  type ExplainRequest,
  type InboundExplanation,
  type OutboundExplanation,
} from 'inmesh/explain';
import type { Test } from 'tap';
import { type ControlPlane, startIstiod } from '../istiod/control-plane.ts';
import { istioProgram } from '../istiod/program.ts';

/** The process that everything is for: it serves as `cart`, at 127.0.0.9, and calls the others. */
export const workload: Workload = {
  name: 'cart',
  namespace: 'shop',
  serviceAccount: 'cart',
  labels: { app: 'cart', version: 'v1' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** Services that all cases have: the own one, and one with two versions. */
const services = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: cart, namespace: shop }
spec:
  hosts: [cart.shop.svc.cluster.local]
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }]
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: { labels: { app: cart } }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: cart, namespace: shop }
spec: { address: 127.0.0.9, labels: { app: cart, version: v1 }, serviceAccount: cart }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [reviews.shop.svc.cluster.local]
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 9080 }]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - { address: 127.0.0.1, labels: { version: v1 }, serviceAccount: reviews, weight: 1 }
  - { address: 127.0.0.2, labels: { version: v2 }, serviceAccount: reviews, weight: 3 }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ratings, namespace: shop }
spec:
  hosts: [ratings.shop.svc.cluster.local]
  ports: [{ number: 80, name: http, protocol: HTTP }]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{ address: 127.0.0.3, serviceAccount: ratings }]
`;

/** The same resources twice: as YAML that inmesh compiles, and as what a real istiod makes of them. */
export interface Twin {
  readonly istiod: ControlPlane;
  readonly source: XdsSource;
  /** What was refused so far. */
  readonly problems: readonly ConfigProblem[];
  /** Both snapshots of these resources, when istiod has told. `mesh`: MeshConfig, in one line. */
  both(yaml: string, mesh?: string): Promise<Both>;
}

export interface Both {
  readonly yaml: Snapshot;
  readonly xds: Snapshot;
  readonly report: EnforcementReport;
}

/** A real istiod, and a source that follows it; a reason where there is none. */
export async function startTwin(t: Test, options: Partial<XdsSourceOptions> = {}): Promise<Twin | { why: string }> {
  const program = istioProgram();
  if ('why' in program) return program;
  const istiod = await startIstiod(t, program.path);
  const { address, rootFile, serverName } = istiod;
  const source = xdsSource({
    server: { address, tls: { trustRoot: rootFile, serverName }, tokenFile: istiod.tokenFile('cart') },
    node: { addresses: ['127.0.0.9'], pod: 'cart-1' },
    env: {},
    workload,
    ...options,
  });
  const problems: ConfigProblem[] = [];
  let newest: Pick<Both, 'xds' | 'report'> | undefined;
  let changedAt = 0;
  const stop = new AbortController();
  const running = source.run(
    {
      update(xds, report) {
        newest = { xds, report };
        changedAt = performance.now();
      },
      reject: (refused) => void problems.push(...refused),
      lost: (reason) => t.comment(`lost: ${reason.message}`),
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  let count = 0;
  let meshSettings = '';
  return {
    istiod,
    source,
    problems,
    async both(yaml, mesh = '') {
      const marker = `marker-${++count}.shop.svc.cluster.local`;
      const text = `${services}---\n${markerOf(marker)}---\n${yaml}`;
      const settings = mesh === '' || mesh.startsWith('{') ? mesh : `{ ${mesh} }`;
      const own = settings === '' ? '' : `\n---\napiVersion: inmesh.dev/v1\nkind: MeshConfig\nspec: ${settings}\n`;
      const compiled = compile(parseYaml(text + own).documents, { workload });
      if (!compiled.ok) throw new Error(compiled.problems.map(({ message }) => message).join('; '));
      if (settings !== meshSettings) {
        meshSettings = settings;
        const all = settings === '' ? '{}' : settings;
        writeFileSync(
          join(istiod.folder, 'mesh.new'),
          `${all.replace(/^\{/, '{ trustDomain: cluster.local, ').replace(', }', ' }')}\n`,
        );
        renameSync(join(istiod.folder, 'mesh.new'), join(istiod.folder, 'mesh.yaml'));
        // istiod waits for more changes of the file.
        await wait(1_000);
      }
      // As one step: istiod looks at the folder whenever something in it changes.
      const file = join(istiod.folder, 'config.new');
      writeFileSync(file, text);
      renameSync(file, join(istiod.folder, 'config/all.yaml'));
      const known = (): boolean => newest?.xds.clusters.has(`outbound|80||${marker}`) === true;
      for (let i = 0; i < 600; i++) {
        // istiod pushes clusters first and waits a tenth of a second for more: what is quiet is whole.
        if (known() && newest !== undefined && performance.now() - changedAt > 500) {
          return { yaml: compiled.snapshot, ...newest };
        }
        await wait(50);
      }
      throw new Error(`istiod did not tell of ${marker}: ${JSON.stringify(problems).slice(0, 2_000)}`);
    },
  };
}

const markerOf = (host: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: marker, namespace: shop }
spec:
  hosts: [${host}]
  ports: [{ number: 80, name: http, protocol: HTTP }]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{ address: 127.0.0.4 }]
`;

/** What a call would do, as far as configuration decides it, without where that stands. */
export function outboundOf(snapshot: Snapshot, request: ExplainRequest): Partial<OutboundExplanation> {
  const {
    at: _at,
    name: _name,
    notes: _notes,
    passedOver: _passed,
    reason: _reason,
    rule: _rule,
    ...decided
  } = createExplainer({
    workload,
    snapshot,
  }).outbound(request);
  return decided;
}

/** What becomes of a request, as far as policies decide it. */
export async function inboundOf(snapshot: Snapshot, request: ExplainRequest): Promise<Partial<InboundExplanation>> {
  const explainer = createExplainer({ workload, snapshot });
  const { decision, status } = await explainer.inbound({ to: { port: 8_080 }, ...request });
  return { decision, ...(status === undefined ? {} : { status }) };
}

/** Endpoints of a cluster, `address:port weight`, in order. */
export function endpointsOf(snapshot: Snapshot, cluster: string): readonly string[] {
  const discovery = snapshot.clusters.get(cluster)?.discovery;
  const endpoints = discovery === undefined || discovery.kind === 'original' ? [] : discovery.endpoints;
  return endpoints.map(({ address, port, weight }) => `${address}:${port} ${weight}`).sort();
}
