import type { Workload } from '../../src/model/workload.ts';

/** Who calls in the laboratory. */
export const caller: Workload = {
  name: 'web',
  namespace: 'shop',
  serviceAccount: 'web',
  labels: { app: 'web' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** Where an endpoint is: a port of loopback, or anywhere. */
export type Place = number | { readonly address: string; readonly port: number; readonly [more: string]: unknown };

/** A service in words of Istio. */
export interface ServiceSetup {
  readonly endpoints: readonly Place[];
  /** Default `shop`. */
  readonly name?: string;
  /** Name of the port, which says the protocol. Default `http`. */
  readonly protocol?: string;
  readonly resolution?: 'STATIC' | 'DNS';
  /** `retries` of the VirtualService. Absent: Istio's default (two). */
  readonly retries?: object;
  readonly timeout?: string;
  /** More fields of the HTTP route: `fault`, `mirror`. */
  readonly route?: object;
  /** `trafficPolicy` of the DestinationRule. */
  readonly policy?: object;
  /** Of the DestinationRule. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of the VirtualService. */
  readonly routeAnnotations?: Readonly<Record<string, string>>;
  /** `subjectAltNames` of the ServiceEntry. */
  readonly identities?: readonly string[];
  readonly more?: readonly object[];
}

export const noRetries: object = { attempts: 0 };

/** Takes an endpoint out at the first failure of the catalogue's kind, not at one in ten endpoints. */
export const eager: object = {
  consecutive5xxErrors: 5,
  interval: '1s',
  baseEjectionTime: '30s',
  maxEjectionPercent: 100,
};

/** The resources of one service in namespace `shop`. */
export function serviceResources(setup: ServiceSetup): readonly object[] {
  const { annotations = {}, name = 'shop', policy, protocol = 'http', retries, route = {}, timeout } = setup;
  const host = `${name}.shop.svc.cluster.local`;
  const metadata = { name, namespace: 'shop' };
  const endpoints = setup.endpoints.map((place) => {
    if (typeof place === 'number') return { address: '127.0.0.1', ports: { [protocol]: place } };
    const { address, port, ...more } = place;
    if (address.startsWith('unix://')) return { address, ...more };
    return { address, ports: { [protocol]: port }, ...more };
  });
  const entry = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata,
    spec: {
      hosts: [host],
      location: 'MESH_INTERNAL',
      resolution: setup.resolution ?? 'STATIC',
      ports: [{ number: 80, name: protocol, protocol: protocol === 'http2' ? 'HTTP2' : 'HTTP' }],
      endpoints,
      ...(setup.identities === undefined ? {} : { subjectAltNames: setup.identities }),
    },
  };
  const virtual = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { ...metadata, annotations: setup.routeAnnotations ?? {} },
    spec: {
      hosts: [host],
      http: [
        {
          route: [{ destination: { host } }],
          ...(retries === undefined ? {} : { retries }),
          ...(timeout === undefined ? {} : { timeout }),
          ...route,
        },
      ],
    },
  };
  const rule = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { ...metadata, annotations },
    spec: { host, ...(policy === undefined ? {} : { trafficPolicy: policy }) },
  };
  return [
    entry,
    virtual,
    ...(policy === undefined && setup.annotations === undefined ? [] : [rule]),
    ...(setup.more ?? []),
  ];
}
