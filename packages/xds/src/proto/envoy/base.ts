import { type Any, any } from '../any.ts';
import { bool, bytes, double, enumOf, message, string, wrapped } from '../kinds.ts';
import { mapOf, optional, type Schema, schema, single } from '../schema.ts';
import { type JsonObject, struct } from '../struct.ts';
import { type FractionalPercent, fractionalPercentSchema } from './ranges.ts';

/** `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`. */
export type HeaderValueOptionHeaderAppendAction =
  | 'APPEND_IF_EXISTS_OR_ADD'
  | 'ADD_IF_ABSENT'
  | 'OVERWRITE_IF_EXISTS_OR_ADD'
  | 'OVERWRITE_IF_EXISTS';

const headerValueOptionHeaderAppendActionKind = enumOf(
  'APPEND_IF_EXISTS_OR_ADD',
  'ADD_IF_ABSENT',
  'OVERWRITE_IF_EXISTS_OR_ADD',
  'OVERWRITE_IF_EXISTS',
);

/** `google.protobuf.Empty`: it says all by being there. */
export type Empty = Readonly<Record<string, never>>;

export const emptySchema: Schema<Empty> = schema<Empty>('google.protobuf.Empty', {
  fields: {},
});

/** `envoy.config.core.v3.Locality`. */
export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly sub_zone: string;
}

export const localitySchema: Schema<Locality> = schema<Locality>('envoy.config.core.v3.Locality', {
  fields: {
    region: single(1, string),
    zone: single(2, string),
    sub_zone: single(3, string),
  },
});

/** `envoy.config.core.v3.Metadata`. */
export interface Metadata {
  readonly filter_metadata: ReadonlyMap<string, JsonObject | undefined>;
}

export const metadataSchema: Schema<Metadata> = schema<Metadata>('envoy.config.core.v3.Metadata', {
  fields: {
    filter_metadata: mapOf(1, struct),
  },
  ignored: { 2: 'typed_filter_metadata' },
});

/** `envoy.config.core.v3.DataSource`. */
export interface DataSource {
  readonly filename: string | undefined;
  readonly inline_bytes: Uint8Array | undefined;
  readonly inline_string: string | undefined;
  readonly environment_variable: string | undefined;
}

export const dataSourceSchema: Schema<DataSource> = schema<DataSource>('envoy.config.core.v3.DataSource', {
  fields: {
    filename: optional(1, string),
    inline_bytes: optional(2, bytes),
    inline_string: optional(3, string),
    environment_variable: optional(4, string),
  },
  ignored: { 5: 'watched_directory' },
  oneofs: [['filename', 'inline_bytes', 'inline_string', 'environment_variable']],
});

/** `envoy.config.core.v3.TypedExtensionConfig`. */
export interface TypedExtensionConfig {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const typedExtensionConfigSchema: Schema<TypedExtensionConfig> = schema<TypedExtensionConfig>(
  'envoy.config.core.v3.TypedExtensionConfig',
  {
    fields: {
      name: single(1, string),
      typed_config: single(2, any),
    },
  },
);

/** `envoy.config.core.v3.TransportSocket`. */
export interface TransportSocket {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const transportSocketSchema: Schema<TransportSocket> = schema<TransportSocket>(
  'envoy.config.core.v3.TransportSocket',
  {
    fields: {
      name: single(1, string),
      typed_config: single(3, any),
    },
  },
);

/** `envoy.config.core.v3.RuntimeFractionalPercent`. */
export interface RuntimeFractionalPercent {
  readonly default_value: FractionalPercent | undefined;
}

export const runtimeFractionalPercentSchema: Schema<RuntimeFractionalPercent> = schema<RuntimeFractionalPercent>(
  'envoy.config.core.v3.RuntimeFractionalPercent',
  {
    fields: {
      default_value: single(
        1,
        message(() => fractionalPercentSchema),
      ),
    },
    ignored: { 2: 'runtime_key' },
  },
);

/** `envoy.config.core.v3.RuntimeDouble`. */
export interface RuntimeDouble {
  readonly default_value: number;
}

export const runtimeDoubleSchema: Schema<RuntimeDouble> = schema<RuntimeDouble>('envoy.config.core.v3.RuntimeDouble', {
  fields: {
    default_value: single(1, double),
  },
  ignored: { 2: 'runtime_key' },
});

/** `envoy.config.core.v3.HeaderValue`. */
export interface HeaderValue {
  readonly key: string;
  readonly value: string;
  readonly raw_value: Uint8Array | undefined;
}

export const headerValueSchema: Schema<HeaderValue> = schema<HeaderValue>('envoy.config.core.v3.HeaderValue', {
  fields: {
    key: single(1, string),
    value: single(2, string),
    raw_value: single(3, bytes),
  },
});

/** `envoy.config.core.v3.HeaderValueOption`. */
export interface HeaderValueOption {
  readonly header: HeaderValue | undefined;
  readonly append: boolean | undefined;
  readonly append_action: HeaderValueOptionHeaderAppendAction | number;
  readonly keep_empty_value: boolean;
}

export const headerValueOptionSchema: Schema<HeaderValueOption> = schema<HeaderValueOption>(
  'envoy.config.core.v3.HeaderValueOption',
  {
    fields: {
      header: single(
        1,
        message(() => headerValueSchema),
      ),
      append: single(2, wrapped(bool)),
      append_action: single(3, headerValueOptionHeaderAppendActionKind),
      keep_empty_value: single(4, bool),
    },
  },
);
