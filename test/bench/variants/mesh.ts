import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expectOk, type OutboundVariant, type PreparedCalls } from '../variant.ts';
import { getWith } from './node-http.ts';

const workload = {
  name: 'bench',
  namespace: 'bench',
  serviceAccount: 'bench',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/**
 * What a mesh does for a call: a route found by path and header, retries, a total timeout,
 * least-request balancing over two endpoints, outlier detection, metrics.
 */
const resources = ([first, second]: readonly [number, number], mirror: object = {}): readonly object[] => [
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: {
      hosts: ['reviews.bench'],
      ports: [{ number: 9080, name: 'http', protocol: 'HTTP' }],
      resolution: 'STATIC',
      endpoints: [
        { address: '127.0.0.1', ports: { http: first }, labels: { version: 'v1' } },
        { address: '127.0.0.1', ports: { http: second }, labels: { version: 'v1' } },
      ],
    },
  },
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: {
      host: 'reviews.bench',
      trafficPolicy: {
        loadBalancer: { simple: 'LEAST_REQUEST' },
        outlierDetection: { consecutive5xxErrors: 5, interval: '10s', baseEjectionTime: '30s' },
      },
      subsets: [{ name: 'v1', labels: { version: 'v1' } }],
    },
  },
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: {
      hosts: ['reviews.bench'],
      http: [
        {
          match: [{ headers: { 'end-user': { exact: 'jason' } } }],
          route: [{ destination: { host: 'reviews.bench', subset: 'v1' } }],
        },
        {
          match: [{ uri: { prefix: '/hello' } }],
          timeout: '10s',
          retries: { attempts: 2, retryOn: 'connect-failure,refused-stream,503' },
          ...mirror,
          route: [{ destination: { host: 'reviews.bench', subset: 'v1' } }],
        },
      ],
    },
  },
];

const url = 'http://reviews.bench:9080/hello';

/** All calls are mirrored to this service, too. */
const shadow = (port: number): object => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name: 'shadow', namespace: 'bench' },
  spec: {
    hosts: ['shadow.bench'],
    ports: [{ number: 9080, name: 'http', protocol: 'HTTP' }],
    resolution: 'STATIC',
    endpoints: [{ address: '127.0.0.1', ports: { http: port } }],
  },
});

/** A mesh in front of the target. Without identity: mTLS has a benchmark of its own. */
async function meshTo(ports: readonly [number, number], shadowPort?: number) {
  const { createMesh } = await import('../../../src/mesh.ts');
  const { staticSource } = await import('../../../src/config/static-source.ts');
  const config =
    shadowPort === undefined
      ? resources(ports)
      : [...resources(ports, { mirror: { host: 'shadow.bench' } }), shadow(shadowPort)];
  const mesh = createMesh({
    workload,
    identity: false,
    // Nothing slips past the mesh unnoticed.
    outboundPolicy: 'REGISTRY_ONLY',
    config: staticSource(config, { workload, outboundPolicy: 'REGISTRY_ONLY' }),
  });
  await mesh.ready(10_000);
  return mesh;
}

export const meshDispatcher: OutboundVariant = {
  name: 'inmesh: undici.request through mesh.dispatcher',
  base: 'undici.request',
  async prepare(ports): Promise<PreparedCalls> {
    const { request, setGlobalDispatcher } = await import('undici');
    const mesh = await meshTo(ports);
    setGlobalDispatcher(mesh.dispatcher);
    return {
      async call() {
        const { statusCode, body } = await request(url);
        expectOk(statusCode);
        await body.text();
      },
      close: () => mesh.close(),
    };
  },
};

/** The same with a copy of each call for a service that takes connections and never answers. */
export const meshMirror: OutboundVariant = {
  name: 'inmesh: mesh.dispatcher with a mirror that hangs',
  base: meshDispatcher.name,
  async prepare(ports): Promise<PreparedCalls> {
    const { request, setGlobalDispatcher } = await import('undici');
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const mesh = await meshTo(ports, (silent.address() as AddressInfo).port);
    setGlobalDispatcher(mesh.dispatcher);
    return {
      async call() {
        const { statusCode, body } = await request(url);
        expectOk(statusCode);
        await body.text();
      },
      async close() {
        await mesh.close();
        for (const socket of sockets) socket.destroy();
        silent.close();
      },
    };
  },
};

export const meshFetch: OutboundVariant = {
  name: 'inmesh: mesh.fetch',
  base: 'fetch',
  async prepare(ports): Promise<PreparedCalls> {
    const mesh = await meshTo(ports);
    const { fetch } = mesh;
    return {
      async call() {
        const response = await fetch(url);
        expectOk(response.status);
        await response.text();
      },
      close: () => mesh.close(),
    };
  },
};

export const meshAgent: OutboundVariant = {
  name: 'inmesh: http.get through mesh.agent',
  base: 'http.get',
  async prepare(ports): Promise<PreparedCalls> {
    const mesh = await meshTo(ports);
    const target = new URL(url);
    return { call: () => getWith(mesh.agent, target), close: () => mesh.close() };
  },
};
