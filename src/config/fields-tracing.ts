import type { FieldType, ObjectType } from './schema.ts';
import {
  any,
  approximated,
  boolean,
  duration,
  enforced,
  ignored,
  integer,
  list,
  map,
  number,
  object,
  oneOfValues,
  openObject,
  required,
  string,
  text,
} from './schema.ts';

const named = string({ minLength: 1, anyCharacter: true });

/** Istio `Tracing.CustomTag`. */
export const customTags: FieldType = map(
  object(
    {
      literal: object({ value: required(named) }),
      environment: object({ name: required(named), defaultValue: string() }),
      header: approximated(
        object({ name: required(named), defaultValue: string() }),
        'at most 256 characters; headers that hold tokens (`authorization`, `cookie` and the like) are left out',
      ),
      formatter: ignored(object({ value: required(named) }), 'format commands are those of a proxy'),
    },
    ['literal', 'environment', 'header', 'formatter'],
  ),
);

const direct =
  'a host of DNS, as `host` or `namespace/host`; the collector is spoken to directly, not through the mesh';
const headers = list(openObject({ name: required(named), value: text, envName: text }));
const common = {
  service: required(approximated(named, direct)),
  port: required(enforced(integer(1, 65_535))),
  maxTagLength: approximated(integer(0, 4_294_967_295), 'for the path; default 256'),
};

/** For `@inmesh/otel`; a tracer of the application's own knows where it reports to. */
export const tracingProviders: Readonly<Record<string, ObjectType>> = {
  zipkin: openObject({
    ...common,
    path: enforced(text, 'default `/api/v2/spans`'),
    timeout: enforced(duration(), 'default 10 s'),
    headers: enforced(headers),
    enable64bitTraceId: ignored(boolean, 'trace ids have 128 bits'),
    traceContextOption: approximated(
      oneOfValues('USE_B3', 'USE_B3_WITH_W3C_PROPAGATION'),
      'calls carry both, and both are read',
    ),
  }),
  opentelemetry: openObject({
    ...common,
    http: openObject({
      path: enforced(text, 'default `/v1/traces`'),
      timeout: enforced(duration(), 'default 10 s'),
      headers: enforced(headers),
    }),
    grpc: openObject({
      timeout: enforced(duration(), 'default 10 s'),
      initialMetadata: enforced(
        headers,
        'names in `-bin` have values in base64; what gRPC cannot send is left out, with a warning',
      ),
    }),
    resourceDetectors: ignored(any, 'the resource is the workload, and what `OTEL_RESOURCE_ATTRIBUTES` says'),
    dynatraceSampler: ignored(any, 'the percentages of Telemetry and MeshConfig count'),
  }),
};

const oldTracer = 'use an extension provider and a Telemetry';

/** Istio `mesh.v1alpha1.Tracing`, in `defaultConfig`. */
export const proxyTracing: ObjectType = openObject({
  sampling: enforced(
    number(0, 10_000),
    'default 1; 0 and more than 100 mean 1, as in Istio; a Telemetry goes before it',
  ),
  maxPathTagLength: enforced(integer(0, 4_294_967_295), 'default 256'),
  customTags: enforced(customTags, 'where no Telemetry has any'),
  enableIstioTags: enforced(boolean, 'default true; a Telemetry goes before it'),
  zipkin: approximated(openObject({ address: text }), 'where no Telemetry names a provider; spoken to directly'),
  lightstep: ignored(any, oldTracer),
  datadog: ignored(any, oldTracer),
  stackdriver: ignored(any, oldTracer),
  openCensusAgent: ignored(any, oldTracer),
  tlsSettings: ignored(any, oldTracer),
});
