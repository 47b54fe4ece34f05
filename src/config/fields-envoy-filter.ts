import { networkingSelector, targetRefs } from './fields-selector.ts';
import type { KindTable } from './schema.ts';
import { any, integer, list, map, object, oneOfValues, openObject, required, string } from './schema.ts';

const uint32 = integer(0, 4_294_967_295);
const int32 = integer(-2_147_483_648, 2_147_483_647);
const filter = object({ name: string(), subFilter: object({ name: string() }) });

/** `networking.istio.io` EnvoyFilter: patches for Envoy, of which there is none. */
export const envoyFilterTable: KindTable = {
  kind: 'EnvoyFilter',
  group: 'networking.istio.io',
  versions: ['v1alpha3'],
  status: 'ignored',
  note: 'configures the proxy, and there is none',
  reference: 'https://istio.io/latest/docs/reference/config/networking/envoy-filter/',
  fields: {
    spec: required(
      object({
        workloadSelector: networkingSelector,
        targetRefs,
        priority: int32,
        configPatches: list(
          object({
            applyTo: oneOfValues(
              'INVALID',
              'LISTENER',
              'FILTER_CHAIN',
              'NETWORK_FILTER',
              'HTTP_FILTER',
              'ROUTE_CONFIGURATION',
              'VIRTUAL_HOST',
              'HTTP_ROUTE',
              'CLUSTER',
              'EXTENSION_CONFIG',
              'BOOTSTRAP',
              'LISTENER_FILTER',
            ),
            match: object(
              {
                context: oneOfValues('ANY', 'SIDECAR_INBOUND', 'SIDECAR_OUTBOUND', 'GATEWAY', 'WAYPOINT'),
                proxy: object({ proxyVersion: string(), metadata: map(string()) }),
                listener: object({
                  portNumber: uint32,
                  portName: string(),
                  filterChain: object({
                    name: string(),
                    sni: string(),
                    transportProtocol: string(),
                    applicationProtocols: string(),
                    filter,
                    destinationPort: uint32,
                  }),
                  listenerFilter: string(),
                  name: string(),
                }),
                routeConfiguration: object({
                  portNumber: uint32,
                  portName: string(),
                  gateway: string(),
                  vhost: object({
                    name: string(),
                    domainName: string(),
                    route: object({
                      name: string(),
                      action: oneOfValues('ANY', 'ROUTE', 'REDIRECT', 'DIRECT_RESPONSE'),
                    }),
                  }),
                  name: string(),
                }),
                cluster: object({ portNumber: uint32, service: string(), subset: string(), name: string() }),
                waypoint: object({
                  portNumber: integer(1, 65_535),
                  filter,
                  route: object({ name: string() }),
                }),
              },
              ['listener', 'routeConfiguration', 'cluster', 'waypoint'],
            ),
            patch: object({
              operation: oneOfValues(
                'INVALID',
                'MERGE',
                'ADD',
                'REMOVE',
                'INSERT_BEFORE',
                'INSERT_AFTER',
                'INSERT_FIRST',
                'REPLACE',
                'MERGE_AND_REPLACE_LIST',
              ),
              value: openObject({}),
              filterClass: oneOfValues('UNSPECIFIED', 'AUTHN', 'AUTHZ', 'STATS'),
            }),
          }),
        ),
      }),
    ),
    status: { type: any },
  },
};
