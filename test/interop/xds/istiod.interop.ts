// A real istiod configures this process as it does a sidecar: over TLS with a token, and over mutual TLS.
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { istiodSource } from '@inmesh/istiod';
import { type XdsSourceOptions, xdsSource } from '@inmesh/xds';
import { createMesh, type Mesh } from 'inmesh';
import t, { type Test } from 'tap';
import { type ControlPlane, startIstiod } from '../istiod/control-plane.ts';
import { istioProgram } from '../istiod/program.ts';
import { until } from './program.ts';
import { workload } from './twin.ts';

const program = istioProgram();

function withIstiod(name: string, run: (t: Test, istiod: ControlPlane) => Promise<void>): void {
  t.test(name, async (t) => {
    if ('why' in program) {
      t.comment(`skipped, there is no peer here: ${program.why}`);
      return;
    }
    await run(t, await startIstiod(t, program.path));
  });
}

const optionsOf = ({ address, rootFile, serverName, tokenFile }: ControlPlane): XdsSourceOptions => ({
  server: { address, tls: { trustRoot: rootFile, serverName }, tokenFile: tokenFile('cart') },
  node: { addresses: ['127.0.0.9'], pod: 'cart-1' },
  env: {},
});

const put = ({ folder }: ControlPlane, yaml: string): void => {
  writeFileSync(join(folder, 'all.yaml'), yaml);
  renameSync(join(folder, 'all.yaml'), join(folder, 'config/all.yaml'));
};

const service = (name: string, endpoints: readonly (readonly [version: string, port: number])[]): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: shop }
spec:
  hosts: [${name}.shop.svc.cluster.local]
  ports: [{ number: 80, name: http, protocol: HTTP }]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
${endpoints.map(([version, port]) => `  - { address: 127.0.0.1, labels: { version: ${version} }, ports: { http: ${port} } }`).join('\n')}
---`;

const versions = (to: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: shop }
spec:
  host: reviews.shop.svc.cluster.local
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [reviews.shop.svc.cluster.local]
  http: [{ route: [{ destination: { host: reviews.shop.svc.cluster.local, subset: ${to} } }] }]
`;

async function serve(t: Test, name: string): Promise<number> {
  const server = createServer((_request, response) => void response.end(name)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const call = async (mesh: Mesh): Promise<string> => (await mesh.fetch('http://reviews/')).text();

withIstiod('calls go where istiod says, and elsewhere when it says so, without one that fails', async (t, istiod) => {
  const [v1, v2] = [await serve(t, 'v1'), await serve(t, 'v2')];
  const reviews = service('reviews', [
    ['v1', v1],
    ['v2', v2],
  ]);
  for (const protocol of ['delta', 'sotw'] as const) {
    await t.test(protocol, async (t) => {
      put(istiod, reviews + versions('v1'));
      const source = xdsSource({ ...optionsOf(istiod), protocol });
      const mesh = createMesh({ config: source, identity: false, workload });
      t.teardown(() => mesh.close());
      await mesh.ready(20_000);
      await until('the first version', async () => (await call(mesh).catch(() => '')) === 'v1');
      const answers: string[] = [];
      put(istiod, reviews + versions('v2'));
      await until('the other version', async () => answers.push(await call(mesh)) > 10_000 || answers.at(-1) === 'v2');
      t.same([...new Set(answers)].sort(), answers.length === 1 ? ['v2'] : ['v1', 'v2']);
      t.equal(answers.indexOf('v2'), answers.length - 1);
      const { types } = source.status();
      const states = Object.values(types).flatMap(({ resources }) => resources.map(({ state }) => state));
      t.same([...new Set(states)], ['ACKED'], `${states.length} resources`);
    });
  }
});

withIstiod('mutual TLS: the identity that istiod gave is the one that it is asked with', async (t, istiod) => {
  const port = await serve(t, 'v1');
  put(istiod, service('reviews', [['v1', port]]));
  const { address, rootFile, serverName } = istiod;
  const tls = { trustRoot: rootFile, serverName };
  const source = xdsSource({ ...optionsOf(istiod), server: { address, tls: { ...tls, identity: true } } });
  const mesh = createMesh({
    config: source,
    workload,
    identity: istiodSource({ ...tls, address, tokenFile: istiod.tokenFile('cart'), env: {} }),
  });
  t.teardown(() => mesh.close());
  await mesh.ready(30_000);
  t.match(source.status().servers, [{ state: 'connected' }]);
  await until('an answer', async () => (await call(mesh).catch(() => '')) === 'v1');
});

withIstiod('who is not who it says is turned away, with a reason, and nothing is in force', async (t, istiod) => {
  const { address, rootFile, serverName } = istiod;
  const tls = { trustRoot: rootFile, serverName };
  for (const [name, options, reason] of [
    [
      'a token of another service account',
      { tokenFile: istiod.tokenFile('web'), tls },
      /UNAUTHENTICATED|PERMISSION_DENIED/,
    ],
    ['no token', { tls }, /UNAUTHENTICATED/],
    [
      'another name than the one asked for',
      { tokenFile: istiod.tokenFile('cart'), tls: { ...tls, serverName: 'other.test' } },
      /UNAVAILABLE.*other\.test/,
    ],
  ] as const) {
    await t.test(name, async (t) => {
      const lost: string[] = [];
      let updates = 0;
      const stop = new AbortController();
      const source = xdsSource({ ...optionsOf(istiod), workload, server: { address, ...options } });
      const running = source.run(
        { update: () => void updates++, reject: () => {}, lost: ({ message }) => void lost.push(message) },
        stop.signal,
      );
      await until('the refusal', () => lost.length > 0);
      stop.abort();
      await running;
      t.match(lost[0], reason);
      t.notMatch(lost[0], /eyJ/, 'no token in it');
      t.equal(updates, 0);
    });
  }
});

withIstiod('the names of gRPC: GENERATOR grpc, state of the world', async (t, istiod) => {
  put(istiod, service('reviews', [['v1', 9_081]]) + versions('v1'));
  const name = 'reviews.shop.svc.cluster.local:80';
  const source = xdsSource({
    ...optionsOf(istiod),
    profile: 'grpc',
    services: [name],
    workload,
    node: {
      id: 'sidecar~127.0.0.9~cart-1.shop~shop.svc.cluster.local',
      metadata: {
        GENERATOR: 'grpc',
        NAMESPACE: 'shop',
        SERVICE_ACCOUNT: 'cart',
        CLUSTER_ID: 'Kubernetes',
        INSTANCE_IPS: '127.0.0.9',
      },
    },
  });
  const clusters: string[] = [];
  const problems: string[] = [];
  const stop = new AbortController();
  const running = source.run(
    {
      update: (snapshot) => void clusters.push([...snapshot.clusters.keys()].join()),
      reject: (refused) => void problems.push(...refused.map(({ message }) => message)),
      lost: ({ message }) => void problems.push(message),
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  const subset = 'outbound|80|v1|reviews.shop.svc.cluster.local';
  await until('the cluster', () => clusters.at(-1)?.includes(subset) === true);
  t.same(problems, []);
  t.match(source.status().types, {
    listeners: { resources: [{ name, state: 'ACKED' }] },
    routes: { resources: [{ name: 'outbound|80||reviews.shop.svc.cluster.local', state: 'ACKED' }] },
    clusters: { resources: [{ name: subset, state: 'ACKED' }] },
    endpoints: { resources: [{ name: subset, state: 'ACKED' }] },
  });
});
