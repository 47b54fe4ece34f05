import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { IdentitySource } from '../../../src/identity/source.ts';
import type { Mesh, MeshOptions } from '../../../src/mesh-api.ts';
import { expectOk, type OutboundVariant, type PreparedCalls } from '../variant.ts';
import { getWith } from './node-http.ts';
import { benchTracing } from './tracing.ts';

const workload = {
  name: 'bench',
  namespace: 'bench',
  serviceAccount: 'bench',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

function described(account: string | undefined): object {
  const labels = { version: 'v1' };
  if (account === undefined) return { labels };
  return { labels: { ...labels, 'security.istio.io/tlsMode': 'istio' }, serviceAccount: account };
}

interface ResourceOptions {
  /** The endpoints speak mutual TLS, as this service account. */
  readonly mutual?: string;
  readonly policy?: object;
  readonly rule?: object;
  /** What makes a rule of its own in front of the others, with the same destination. */
  readonly first?: object;
}

const usual = {
  timeout: '10s',
  retries: { attempts: 2, retryOn: 'connect-failure,refused-stream,503' },
  route: [{ destination: { host: 'reviews.bench', subset: 'v1' } }],
};

/**
 * What a mesh does for a call: a route found by path and header, retries, a total timeout,
 * least-request balancing over two endpoints, outlier detection, metrics.
 */
export const resources = (
  [first, second]: readonly [number, number],
  { first: special, mutual, policy = {}, rule = {} }: ResourceOptions = {},
): readonly object[] => [
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: {
      hosts: ['reviews.bench'],
      ports: [{ number: 9080, name: 'http', protocol: 'HTTP' }],
      resolution: 'STATIC',
      ...(mutual === undefined ? {} : { location: 'MESH_INTERNAL' }),
      endpoints: [
        { address: '127.0.0.1', ports: { http: first }, ...described(mutual) },
        { address: '127.0.0.1', ports: { http: second }, ...described(mutual) },
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
        ...policy,
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
        ...(special === undefined ? [] : [{ ...usual, ...special }]),
        {
          match: [{ headers: { 'end-user': { exact: 'jason' } } }],
          route: [{ destination: { host: 'reviews.bench', subset: 'v1' } }],
        },
        {
          match: [{ uri: { prefix: '/hello' } }],
          ...usual,
          ...rule,
        },
      ],
    },
  },
];

export const url = 'http://reviews.bench:9080/hello';

/** All calls are mirrored to this service, too. */
export const shadow = (port: number): object => ({
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

/** All there is to keep calls alive: limits of every kind, budgets, breaker, health checks, warm-up, priorities. */
const resilience = (ports: readonly [number, number]): readonly object[] => [
  ...resources(ports, {
    policy: {
      connectionPool: {
        tcp: { maxConnections: 1_000, connectTimeout: '1s', idleTimeout: '60s', maxConnectionDuration: '600s' },
        http: { http1MaxPendingRequests: 1_000, http2MaxRequests: 1_000, maxRequestsPerConnection: 1_000_000 },
      },
      loadBalancer: {
        simple: 'LEAST_REQUEST',
        warmup: { duration: '10s' },
        localityLbSetting: { enabled: true, failoverPriority: ['version'] },
      },
      outlierDetection: {
        splitExternalLocalOriginErrors: true,
        consecutiveLocalOriginFailures: 5,
        consecutive5xxErrors: 5,
        consecutiveGatewayErrors: 3,
        interval: '10s',
        baseEjectionTime: '30s',
        maxEjectionPercent: 50,
        minHealthPercent: 30,
      },
      retryBudget: { percent: 25, minRetryConcurrency: 5 },
    },
    rule: {
      retries: {
        attempts: 3,
        perTryTimeout: '2s',
        retryOn: '5xx,gateway-error,reset,connect-failure,refused-stream,retriable-4xx,envoy-ratelimited',
        backoff: '10ms',
        retryRemoteLocalities: true,
      },
    },
  }),
  {
    apiVersion: 'inmesh.dev/v1',
    kind: 'CircuitBreaker',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: { host: 'reviews.bench', errorThresholdPercentage: 50, rollingWindow: '10s', volumeThreshold: 20 },
  },
  {
    apiVersion: 'inmesh.dev/v1',
    kind: 'HealthCheck',
    metadata: { name: 'reviews', namespace: 'bench' },
    spec: { host: 'reviews.bench', http: { path: '/hello' }, interval: '5s', timeout: '1s' },
  },
];

/** A mesh in front of the target. Without identity: mutual TLS has rows of its own. */
export async function meshTo(
  config: readonly object[],
  identity: IdentitySource | false = false,
  options: MeshOptions = {},
): Promise<Mesh> {
  const { createMesh } = await import('../../../src/mesh.ts');
  const { staticSource } = await import('../../../src/config/static-source.ts');
  const mesh = createMesh({
    workload,
    identity,
    // Nothing slips past the mesh unnoticed.
    outboundPolicy: 'REGISTRY_ONLY',
    config: staticSource(config, { workload, outboundPolicy: 'REGISTRY_ONLY' }),
    ...options,
  });
  await mesh.ready(10_000);
  return mesh;
}

function dispatcherVariant(
  name: string,
  resourcesFor: (ports: readonly [number, number]) => readonly object[],
): OutboundVariant {
  return {
    name,
    base: 'undici.request',
    async prepare(ports): Promise<PreparedCalls> {
      const { request, setGlobalDispatcher } = await import('undici');
      const mesh = await meshTo(resourcesFor(ports));
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
}

export const meshDispatcher: OutboundVariant = dispatcherVariant(
  'inmesh: undici.request through mesh.dispatcher',
  resources,
);

/** With a tracer that records so many percent of the calls. */
function tracedVariant(name: string, samplingPercent: number): OutboundVariant {
  return {
    name,
    base: meshDispatcher.name,
    async prepare(ports): Promise<PreparedCalls> {
      const { request, setGlobalDispatcher } = await import('undici');
      const { tracing, close } = await benchTracing(samplingPercent);
      const mesh = await meshTo(resources(ports), false, { tracing });
      setGlobalDispatcher(mesh.dispatcher);
      return {
        async call() {
          const { statusCode, body } = await request(url);
          expectOk(statusCode);
          await body.text();
        },
        async close() {
          await mesh.close();
          close();
        },
      };
    },
  };
}

export const meshUnsampled: OutboundVariant = tracedVariant('inmesh: mesh.dispatcher, tracing, not sampled', 0);
export const meshSampled: OutboundVariant = tracedVariant('inmesh: mesh.dispatcher, tracing, every call sampled', 100);

/** With everything that resilience can mean switched on. */
export const meshResilience: OutboundVariant = dispatcherVariant(
  'inmesh: mesh.dispatcher with all of resilience',
  resilience,
);

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
    const mesh = await meshTo([
      ...resources(ports, { rule: { mirror: { host: 'shadow.bench' } } }),
      shadow((silent.address() as AddressInfo).port),
    ]);
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
    const mesh = await meshTo(resources(ports));
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
    const mesh = await meshTo(resources(ports));
    const target = new URL(url);
    return { call: () => getWith(mesh.agent, target), close: () => mesh.close() };
  },
};
