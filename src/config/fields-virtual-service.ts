import { exportTo } from './fields-destination-rule.ts';
import type { Field, FieldType, KindTable } from './schema.ts';
import {
  any,
  boolean,
  duration,
  enforced,
  ignored,
  integer,
  list,
  map,
  nonEmptyList,
  number,
  object,
  oneOfValues,
  refused,
  required,
  string,
} from './schema.ts';

const stringMatch = object({ exact: string(), prefix: string(), regex: string() }, ['exact', 'prefix', 'regex']);
const port = object({ number: integer(1, 65_535) });
const destination = object({ host: required(string()), subset: string(), port });
const percent = object({ value: number(0, 100) });
const headerOperations = object({ add: map(string()), set: map(string()), remove: list(string()) });
const headers = object({ request: headerOperations, response: headerOperations });
const notMatched = 'the whole match entry is left out: it never matches';

const httpMatch = object({
  name: ignored(string()),
  uri: stringMatch,
  ignoreUriCase: boolean,
  headers: map(stringMatch),
  port: integer(1, 65_535),
  gateways: list(string()),
  sourceLabels: map(string()),
  sourceNamespace: string(),
  scheme: ignored(stringMatch, notMatched),
  method: ignored(stringMatch, notMatched),
  authority: ignored(stringMatch, notMatched),
  queryParams: ignored(map(stringMatch), notMatched),
  withoutHeaders: ignored(map(stringMatch), notMatched),
  statPrefix: ignored(string()),
});

const fault = object({
  delay: object(
    { percent: integer(0, 100), percentage: percent, fixedDelay: duration(), exponentialDelay: duration() },
    ['fixedDelay', 'exponentialDelay'],
  ),
  abort: object({ httpStatus: integer(200, 599), grpcStatus: string(), http2Error: string(), percentage: percent }, [
    'httpStatus',
    'grpcStatus',
    'http2Error',
  ]),
});

const corsPolicy = object({
  allowOrigin: list(string()),
  allowOrigins: list(stringMatch),
  allowMethods: list(string()),
  allowHeaders: list(string()),
  exposeHeaders: list(string()),
  maxAge: duration(),
  allowCredentials: boolean,
  unmatchedPreflights: oneOfValues('UNSPECIFIED', 'FORWARD', 'IGNORE'),
});

const redirect = object({
  uri: string(),
  prefixRewrite: string(),
  authority: string(),
  port: integer(1, 65_535),
  derivePort: oneOfValues('FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'),
  scheme: string(),
  redirectCode: integer(300, 399),
});

const retries = object({
  attempts: integer(),
  perTryTimeout: duration(),
  retryOn: enforced(string(), 'Envoy words and status codes; `retriable-headers` and HTTP/3 words have no effect'),
  backoff: duration(),
  retryIgnorePreviousHosts: ignored(boolean, 'the balancer decides'),
  retryRemoteLocalities: ignored(boolean),
});

/** Why some actions are refused; the compiler says the same. */
export const otherAction: string = 'not carried out yet, and leaving it out would send these requests elsewhere';

const httpRoute = object({
  name: string(),
  match: list(httpMatch),
  route: list(
    object({
      destination: required(destination),
      weight: integer(),
      headers: ignored(headers),
    }),
  ),
  timeout: duration(),
  retries,
  rewrite: object({
    uri: string(),
    authority: string(),
    uriRegexRewrite: ignored(object({ match: string(), rewrite: string() })),
  }),
  redirect: refusedForMesh(redirect),
  directResponse: refusedForMesh(object({ status: required(integer(200, 599)), body: any })),
  delegate: refusedForMesh(object({ name: string(), namespace: string() })),
  fault: ignored(fault),
  mirror: ignored(destination),
  mirror_percent: ignored(integer(0, 100)),
  mirrorPercent: ignored(integer(0, 100)),
  mirrorPercentage: ignored(percent),
  mirrors: ignored(list(object({ destination: required(destination), percentage: percent }))),
  corsPolicy: ignored(corsPolicy),
  headers: ignored(headers),
});

const l4Match = {
  destinationSubnets: list(string()),
  port: integer(1, 65_535),
  sourceLabels: map(string()),
  gateways: list(string()),
  sourceNamespace: string(),
} as const;
const l4Route = list(object({ destination: required(destination), weight: integer() }));
const onlyHttp = 'only HTTP routes are carried out';

/**
 * An action that inmesh does not have. It is refused where it would act: a VirtualService for
 * gateways only may have it, so the compiler refuses it and not the table.
 */
function refusedForMesh(type: FieldType): Field {
  return { ...refused(type, otherAction), refusedBy: 'compiler' };
}

/** `networking.istio.io` VirtualService. */
export const virtualServiceTable: KindTable = {
  kind: 'VirtualService',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'enforced',
  reference: 'https://istio.io/latest/docs/reference/config/networking/virtual-service/',
  fields: {
    spec: required(
      object({
        hosts: nonEmptyList(string()),
        gateways: enforced(list(string()), 'applies when `mesh` is listed or the field is absent'),
        http: list(httpRoute),
        tls: ignored(
          list(
            object({ match: nonEmptyList(object({ sniHosts: nonEmptyList(string()), ...l4Match })), route: l4Route }),
          ),
          onlyHttp,
        ),
        tcp: ignored(
          list(object({ match: list(object({ sourceSubnet: string(), ...l4Match })), route: l4Route })),
          onlyHttp,
        ),
        exportTo,
      }),
    ),
  },
};
