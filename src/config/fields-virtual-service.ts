import { exportTo } from './fields-destination-rule.ts';
import type { Field, FieldType, KindTable } from './schema.ts';
import {
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
  text,
} from './schema.ts';

const stringMatch = object({ exact: string(), prefix: string(), regex: string() }, ['exact', 'prefix', 'regex']);
/** 0 is the same as absent. */
const matchPort = integer(0, 65_535);
const port = object({ number: required(integer(1, 65_535)) });
const destination = object({
  host: required(string()),
  subset: string({
    pattern: /^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$/,
    mustBe: 'a name of letters, digits and -',
  }),
  port,
});
/** Of 100; the compiler knows the smallest. */
const percent = object({ value: number(0, 100) });
const headerOperations = object({
  set: enforced(
    map(text),
    "in a request `Host` and `:authority` set the authority; of Envoy's `%…%` what a process knows",
  ),
  add: map(text),
  remove: list(string()),
});
const headers = object({ request: headerOperations, response: headerOperations });
const onlySidecars = '`mesh` stands for this process';

const httpMatch = object({
  name: string(),
  uri: stringMatch,
  ignoreUriCase: boolean,
  scheme: stringMatch,
  method: stringMatch,
  authority: stringMatch,
  headers: enforced(map(stringMatch), 'also `@baggage.<member>`; `@request.auth.claims` is for gateways only'),
  withoutHeaders: map(stringMatch),
  queryParams: map(stringMatch),
  port: matchPort,
  gateways: enforced(list(string()), onlySidecars),
  sourceLabels: map(string()),
  sourceNamespace: string(),
  statPrefix: enforced(string(), 'in `mesh.stats().routes` and the metrics `envoy_vhost_route_…`'),
});

const fault = object({
  delay: object(
    {
      percent: enforced(integer(0, 100), 'deprecated'),
      percentage: percent,
      fixedDelay: duration(),
      exponentialDelay: refusedByIstio(duration()),
    },
    ['fixedDelay', 'exponentialDelay'],
  ),
  abort: object(
    { httpStatus: integer(), grpcStatus: string(), http2Error: refusedByIstio(string()), percentage: percent },
    ['httpStatus', 'grpcStatus', 'http2Error'],
  ),
});

const corsPolicy = object({
  allowOrigin: enforced(list(string()), 'deprecated'),
  allowOrigins: enforced(list(stringMatch), 'for calls of this process, and for requests to its own services'),
  allowMethods: list(string()),
  allowHeaders: list(string()),
  exposeHeaders: list(string()),
  maxAge: duration(),
  allowCredentials: boolean,
  unmatchedPreflights: oneOfValues('UNSPECIFIED', 'FORWARD', 'IGNORE'),
});

const redirect = object(
  {
    uri: string(),
    prefixRewrite: string(),
    authority: string(),
    port: integer(0, 65_535),
    derivePort: oneOfValues('FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'),
    scheme: string(),
    redirectCode: integer(),
  },
  ['port', 'derivePort'],
);

const retries = object({
  attempts: integer(),
  perTryTimeout: duration(),
  retryOn: enforced(
    string(),
    'Envoy words and status codes; as in Istio nothing here names headers for `retriable-headers`; HTTP/3 words have no effect',
  ),
  backoff: duration(),
  retryIgnorePreviousHosts: enforced(
    boolean,
    'absent: true; with `consistentHash` a retry goes to the same endpoint unless that cannot be reached',
  ),
  retryRemoteLocalities: enforced(boolean, 'after each two tries on to other priorities, see `localityLbSetting`'),
});

const httpRoute = object({
  name: string(),
  match: list(httpMatch),
  route: list(object({ destination: required(destination), weight: integer(), headers })),
  redirect,
  directResponse: object({
    status: required(integer()),
    body: object({ string: text, bytes: string() }, ['string', 'bytes']),
  }),
  delegate: object({ name: string(), namespace: string() }),
  rewrite: object({
    uri: string(),
    authority: string(),
    uriRegexRewrite: object({ match: string(), rewrite: string() }),
  }),
  timeout: duration(),
  retries,
  fault,
  mirror: destination,
  mirrors: list(object({ destination: required(destination), percentage: percent })),
  mirrorPercentage: percent,
  mirrorPercent: enforced(integer(0, 100), 'deprecated'),
  mirror_percent: enforced(integer(0, 100), 'deprecated'),
  corsPolicy,
  headers,
});

const l4Match = {
  destinationSubnets: list(string()),
  port: matchPort,
  sourceLabels: map(string()),
  sourceNamespace: string(),
  gateways: enforced(list(string()), onlySidecars),
} as const;
const l4Route = list(object({ destination: required(destination), weight: integer() }));

/** Part of the API, and refused by Istio's own validation; the compiler says so. */
function refusedByIstio(type: FieldType): Field {
  return { ...refused(type, 'Istio refuses it too'), refusedBy: 'compiler' };
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
        hosts: enforced(list(string()), 'without hosts: a delegate'),
        gateways: enforced(list(string()), 'applies when `mesh` is listed or the field is absent'),
        http: list(httpRoute),
        tls: list(
          object({
            match: required(nonEmptyList(object({ sniHosts: required(nonEmptyList(string())), ...l4Match }))),
            route: l4Route,
          }),
        ),
        tcp: list(
          object({
            match: list(object({ sourceSubnet: ignored(string(), 'by Istio too'), ...l4Match })),
            route: l4Route,
          }),
        ),
        exportTo,
      }),
    ),
  },
};
