import { type Cluster, clusterName, defaultConnectionLimits, type Endpoint } from '../../src/model/cluster.ts';
import { defaultInboundPolicy } from '../../src/model/inbound.ts';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';

/** An endpoint on loopback with everything else at its default. */
export function endpoint(port: number, changes: Partial<Endpoint> = {}): Endpoint {
  return {
    address: '127.0.0.1',
    port,
    weight: 1,
    labels: {},
    speaksMtls: false,
    locality: '',
    workload: `workload-${port}`,
    ...changes,
  };
}

/** A cluster of one service on port 80 with Istio's defaults. */
export function cluster(host: string, endpoints: readonly Endpoint[], changes: Partial<Cluster> = {}): Cluster {
  const subset = changes.subset ?? '';
  return {
    name: clusterName(host, 80, subset),
    host,
    port: 80,
    subset,
    protocol: 'http',
    discovery: { kind: 'static', endpoints },
    balance: 'LEAST_REQUEST',
    tls: 'auto',
    limits: defaultConnectionLimits,
    serverIdentities: [],
    ...changes,
  };
}

/** A route to one cluster with Istio's default retries. */
export function route(to: string, changes: Partial<Route> = {}): Route {
  return {
    name: 'default',
    matches: [],
    destinations: [{ cluster: to, weight: 1 }],
    retry: defaultRetryPolicy,
    ...changes,
  };
}

/** A snapshot in which each service has the routes given for it, on port 80. */
export function snapshot(
  services: Readonly<Record<string, readonly Route[]>>,
  clusters: readonly Cluster[],
  changes: Partial<Snapshot> = {},
): Snapshot {
  return {
    version: '1',
    hosts: new Map(Object.entries(services).map(([host, routes]) => [`${host}:80`, { name: `${host}:80`, routes }])),
    wildcardHosts: [],
    clusters: new Map(clusters.map((each) => [each.name, each])),
    outboundPolicy: 'ALLOW_ANY',
    inbound: defaultInboundPolicy,
    ...changes,
  };
}
