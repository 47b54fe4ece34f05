import { policySelector, targetRef, targetRefs } from './fields-selector.ts';
import type { KindTable } from './schema.ts';
import { boolean, list, map, nullable, number, object, oneOfValues, required, string } from './schema.ts';

const providers = list(object({ name: required(string({ minLength: 1 })) }));
const mode = oneOfValues('CLIENT_AND_SERVER', 'CLIENT', 'SERVER');
const text = string({ minLength: 1 });

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
  status: 'ignored',
  note: 'not read yet',
  reference: 'https://istio.io/latest/docs/reference/config/telemetry/',
  fields: {
    spec: {
      type: object({
        selector: policySelector,
        targetRef,
        targetRefs,
        tracing: list(
          object({
            match: object({ mode }),
            providers,
            randomSamplingPercentage: nullable(number(0, 100)),
            disableSpanReporting: nullable(boolean),
            customTags: map(
              object(
                {
                  literal: object({ value: required(text) }),
                  environment: object({ name: required(text), defaultValue: string() }),
                  header: object({ name: required(text), defaultValue: string() }),
                  formatter: object({ value: required(text) }),
                },
                ['literal', 'environment', 'header', 'formatter'],
              ),
            ),
            useRequestIdForTraceSampling: nullable(boolean),
            enableIstioTags: nullable(boolean),
            disableContextPropagation: nullable(boolean),
          }),
        ),
        metrics: list(
          object({
            providers,
            overrides: list(
              object({
                match: object({ metric, customMetric: text, mode }, ['metric', 'customMetric']),
                disabled: nullable(boolean),
                tagOverrides: map(object({ operation: oneOfValues('UPSERT', 'REMOVE'), value: string() })),
              }),
            ),
            reportingInterval: string(),
          }),
        ),
        accessLogging: list(
          object({
            match: object({ mode }),
            providers,
            disabled: nullable(boolean),
            filter: object({ expression: string({ anyCharacter: true }) }),
          }),
        ),
      }),
    },
  },
};
