import { duration, enumOf, message } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';

/** `envoy.config.core.v3.ApiVersion`. */
export type ApiVersion = 'AUTO' | 'V2' | 'V3';

const apiVersionKind = enumOf('AUTO', 'V2', 'V3');

/** `envoy.config.core.v3.AggregatedConfigSource`: it says all by being there. */
export type AggregatedConfigSource = Readonly<Record<string, never>>;

export const aggregatedConfigSourceSchema: Schema<AggregatedConfigSource> = schema<AggregatedConfigSource>(
  'envoy.config.core.v3.AggregatedConfigSource',
  {
    fields: {},
  },
);

/** `envoy.config.core.v3.SelfConfigSource`: it says all by being there. */
export type SelfConfigSource = Readonly<Record<string, never>>;

export const selfConfigSourceSchema: Schema<SelfConfigSource> = schema<SelfConfigSource>(
  'envoy.config.core.v3.SelfConfigSource',
  {
    fields: {},
    ignored: { 1: 'transport_api_version' },
  },
);

/** `envoy.config.core.v3.ConfigSource`. Times to wait and the version of the API need nothing here. */
export interface ConfigSource {
  readonly ads: AggregatedConfigSource | undefined;
  readonly self: SelfConfigSource | undefined;
  readonly initial_fetch_timeout: number | undefined;
  readonly resource_api_version: ApiVersion | number;
}

export const configSourceSchema: Schema<ConfigSource> = schema<ConfigSource>('envoy.config.core.v3.ConfigSource', {
  fields: {
    ads: single(
      3,
      message(() => aggregatedConfigSourceSchema),
    ),
    self: single(
      5,
      message(() => selfConfigSourceSchema),
    ),
    initial_fetch_timeout: single(4, duration),
    resource_api_version: single(6, apiVersionKind),
  },
  ignored: { 1: 'path', 2: 'api_config_source', 7: 'authorities', 8: 'path_config_source' },
  oneofs: [['ads', 'self']],
});
