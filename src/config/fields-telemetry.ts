import { policySelector, targetRef, targetRefs } from './fields-selector.ts';
import { customTags } from './fields-tracing.ts';
import type { KindTable } from './schema.ts';
import {
  approximated,
  boolean,
  enforced,
  ignored,
  list,
  map,
  nullable,
  number,
  object,
  oneOfValues,
  required,
  string,
} from './schema.ts';

const providers = list(object({ name: required(string({ minLength: 1 })) }));
const mode = oneOfValues('CLIENT_AND_SERVER', 'CLIENT', 'SERVER');
const text = string({ minLength: 1 });
const waypoints = 'such a Telemetry is for gateways and waypoints';

const metric = oneOfValues(
  'ALL_METRICS',
  'REQUEST_COUNT',
  'REQUEST_DURATION',
  'REQUEST_SIZE',
  'RESPONSE_SIZE',
  'TCP_OPENED_CONNECTIONS',
  'TCP_CLOSED_CONNECTIONS',
  'TCP_SENT_BYTES',
  'TCP_RECEIVED_BYTES',
  'GRPC_REQUEST_MESSAGES',
  'GRPC_RESPONSE_MESSAGES',
);

/** `telemetry.istio.io` Telemetry. */
export const telemetryTable: KindTable = {
  kind: 'Telemetry',
  group: 'telemetry.istio.io',
  versions: ['v1', 'v1alpha1'],
  status: 'enforced',
  note: 'traces (the process needs a tracer: option `tracing`), metrics and access logs',
  reference: 'https://istio.io/latest/docs/reference/config/telemetry/',
  fields: {
    spec: {
      type: object({
        selector: policySelector,
        targetRef: ignored(targetRef, waypoints),
        targetRefs: ignored(targetRefs, waypoints),
        tracing: list(
          object({
            match: object({ mode }),
            providers: approximated(
              providers,
              'the first counts, for `@inmesh/otel`; a tracer of the application knows by itself where it reports to',
            ),
            randomSamplingPercentage: nullable(enforced(number(0, 100), 'default that of the MeshConfig, else 1')),
            disableSpanReporting: nullable(boolean),
            customTags,
            useRequestIdForTraceSampling: nullable(
              approximated(boolean, 'false: at random, with the same percentage; Envoy then samples all of them'),
            ),
            enableIstioTags: nullable(
              enforced(
                boolean,
                '`istio.canonical_service`, `istio.canonical_revision`, `istio.namespace`, `istio.mesh_id`',
              ),
            ),
            disableContextPropagation: nullable(enforced(boolean, 'for calls')),
          }),
        ),
        metrics: list(
          object({
            providers: approximated(
              providers,
              'those of kind prometheus; the first of those named last counts, for the metrics that this process has',
            ),
            overrides: list(
              object({
                match: object(
                  {
                    metric,
                    customMetric: approximated(
                      text,
                      'names of metrics of Istio, without `istio_`: there are no others',
                    ),
                    mode,
                  },
                  ['metric', 'customMetric'],
                ),
                disabled: nullable(boolean),
                tagOverrides: map(
                  object({
                    operation: oneOfValues('UPSERT', 'REMOVE'),
                    value: approximated(
                      string(),
                      'CEL: see [expressions](metrics.md#expressions); what is not supported is refused',
                    ),
                  }),
                ),
              }),
            ),
            reportingInterval: ignored(string(), 'connections are counted whenever somebody asks'),
          }),
        ),
        accessLogging: list(
          object({
            match: object({ mode }),
            providers: approximated(providers, 'of kind envoyFileAccessLog; `envoy` is there without a word'),
            disabled: nullable(boolean),
            filter: object({
              expression: approximated(
                string({ anyCharacter: true }),
                'CEL: see [expressions](metrics.md#expressions); what is not supported is refused',
              ),
            }),
          }),
        ),
      }),
    },
  },
};
