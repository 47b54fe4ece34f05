import { tracingProviders } from './fields-tracing.ts';
import type { Field, FieldInput, FieldType } from './schema.ts';
import {
  any,
  approximated,
  boolean,
  duration,
  enforced,
  field,
  ignored,
  integer,
  list,
  map,
  object,
  required,
  string,
  text,
} from './schema.ts';

const telemetry =
  'of telemetry, traces go to zipkin and opentelemetry, metrics to prometheus, access logs to files and standard output';
const logService = 'access logs go to files and standard output, or to a function of the application';
const tracing = 'for the tracer of `@inmesh/otel`, unless `OTEL_EXPORTER_…` variables say otherwise';

/** Every other kind of Istio's. */
const others = ['lightstep', 'datadog', 'stackdriver', 'opencensus', 'skywalking', 'sds'];

/** Those that access logs are sent to, which nobody here does. */
const logServices = ['envoyHttpAls', 'envoyTcpAls', 'envoyOtelAls'];

const fileAccessLog = object({
  path: enforced(
    string(),
    'default `/dev/stdout`; beside it and `/dev/stderr` files in the folder that the option `accessLogFolder` names',
  ),
  logFormat: field(
    object(
      {
        text: approximated(string({ anyCharacter: true }), 'operators that have no meaning in a process are `-`'),
        labels: approximated(any, 'operators that have no meaning in a process are null'),
      },
      ['text', 'labels'],
    ),
  ),
  omitEmptyValues: boolean,
});

const port = required(enforced(integer(1, 65_535)));
const service = required(
  enforced(
    string({ minLength: 1, maxLength: 512 }),
    'a service of the registry that this process may call, as `host` or `namespace/host`; called through the mesh, so that its routes, mTLS and limits apply',
  ),
);
const names = list(text);
const headerNames = (note: string): Field => enforced(names, note);
const matching = 'exact names, `abc*` or `*abc`';

const common: Readonly<Record<string, FieldInput>> = {
  service,
  port,
  timeout: enforced(duration(), 'default 600 s, as in Istio; it ends when the caller goes away, too'),
  failOpen: boolean,
  clearRouteCache: ignored(boolean, 'an inbound request has no route that could be chosen anew'),
  statusOnError: enforced(text, 'default 403'),
  includeRequestBodyInCheck: object({
    maxRequestBytes: required(enforced(integer(1, 4_294_967_295), 'a longer body is answered 413')),
    allowPartialMessage: boolean,
    packAsBytes: enforced(boolean, 'for gRPC alone'),
  }),
};

/** One of MeshConfig's `extensionProviders`. */
export const extensionProviders: FieldType = list(
  object(
    {
      name: required(enforced(text, 'small letters, digits and `-`; each name once')),
      envoyExtAuthzHttp: field(
        object({
          ...common,
          pathPrefix: text,
          includeHeadersInCheck: enforced(names, 'where `includeRequestHeadersInCheck` is absent'),
          includeRequestHeadersInCheck: headerNames(matching),
          includeAdditionalHeadersInCheck: enforced(map(text), 'texts; no format commands'),
          headersToUpstreamOnAllow: approximated(names, `${matching}; not Host, and not what frames a message`),
          headersToDownstreamOnDeny: headerNames(matching),
          headersToDownstreamOnAllow: approximated(names, `${matching}; not what frames a message`),
        }),
      ),
      envoyExtAuthzGrpc: enforced(
        object(common),
        'asked through the option `externalAuthorization` (see `@inmesh/ext-authz`); without it requests are refused',
      ),
      ...Object.fromEntries(Object.entries(tracingProviders).map(([name, type]) => [name, enforced(type, tracing)])),
      prometheus: enforced(
        any,
        'the provider of the metrics that this process has; `prometheus` is there without a word',
      ),
      envoyFileAccessLog: enforced(fileAccessLog, '`envoy` is there without a word'),
      ...Object.fromEntries(logServices.map((name) => [name, ignored(any, logService)])),
      ...Object.fromEntries(others.map((name) => [name, ignored(any, telemetry)])),
    },
    [
      'envoyExtAuthzHttp',
      'envoyExtAuthzGrpc',
      ...Object.keys(tracingProviders),
      'prometheus',
      'envoyFileAccessLog',
      ...logServices,
      ...others,
    ],
  ),
);
