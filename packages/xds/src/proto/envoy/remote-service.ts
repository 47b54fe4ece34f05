import { duration, message, string } from '../kinds.ts';
import { optional, type Schema, schema, single } from '../schema.ts';

/** `envoy.config.core.v3.GrpcService`. */
export interface GrpcService {
  readonly envoy_grpc: EnvoyGrpc | undefined;
  readonly timeout: number | undefined;
}

export const grpcServiceSchema: Schema<GrpcService> = schema<GrpcService>('envoy.config.core.v3.GrpcService', {
  fields: {
    envoy_grpc: single(
      1,
      message(() => envoyGrpcSchema),
    ),
    timeout: single(3, duration),
  },
  ignored: { 2: 'google_grpc', 5: 'initial_metadata', 6: 'retry_policy' },
});

/** `envoy.config.core.v3.GrpcService.EnvoyGrpc`. */
export interface EnvoyGrpc {
  readonly cluster_name: string;
  readonly authority: string;
}

export const envoyGrpcSchema: Schema<EnvoyGrpc> = schema<EnvoyGrpc>('envoy.config.core.v3.GrpcService.EnvoyGrpc', {
  fields: {
    cluster_name: single(1, string),
    authority: single(2, string),
  },
  ignored: { 3: 'retry_policy', 4: 'max_receive_message_length', 5: 'skip_envoy_headers' },
});

/** `envoy.config.core.v3.HttpUri`. */
export interface HttpUri {
  readonly uri: string;
  readonly cluster: string | undefined;
  readonly timeout: number | undefined;
}

export const httpUriSchema: Schema<HttpUri> = schema<HttpUri>('envoy.config.core.v3.HttpUri', {
  fields: {
    uri: single(1, string),
    cluster: optional(2, string),
    timeout: single(3, duration),
  },
});
