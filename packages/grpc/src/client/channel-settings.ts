import type { ChannelOptions } from '@grpc/grpc-js';
import { MeshError } from 'inmesh';
import { type Encoding, encodings } from './compression.ts';
import { readServiceConfig, type ServiceConfig } from './service-config.ts';

/** What the options of a channel mean, read once. */
export interface ChannelSettings {
  /** Bytes of one message, as it arrives and when it is inflated. Infinity: any. */
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  readonly userAgent: string;
  readonly encoding: Encoding;
  /** `:authority` in place of the target's; absent: the target's. */
  readonly authority: string | undefined;
  readonly service: ServiceConfig | undefined;
}

/** gRPC's default. */
const defaultMaxReceiveBytes = 4_194_304;

/** Kept like the version in package.json by a test. */
export const userAgent = 'grpc-node-inmesh/0.1.0';

/**
 * Reads what grpc-js calls channel options. Those that say how connections are made (keepalive,
 * TLS, load balancing, proxies) are for the mesh to say, and are not looked at: `docs/grpc.md` lists them.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function readChannelOptions(options: ChannelOptions): ChannelSettings {
  const primary = options['grpc.primary_user_agent'];
  const secondary = options['grpc.secondary_user_agent'];
  const config = options['grpc.service_config'];
  const algorithm = options['grpc.default_compression_algorithm'] ?? 0;
  const encoding = encodings[algorithm];
  if (encoding === undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION_INVALID',
      `grpc.default_compression_algorithm must be 0 (identity), 1 (deflate) or 2 (gzip), and is ${algorithm}`,
    );
  }
  return {
    maxReceiveBytes: limit(options['grpc.max_receive_message_length'], defaultMaxReceiveBytes),
    maxSendBytes: limit(options['grpc.max_send_message_length'], Number.POSITIVE_INFINITY),
    userAgent: [primary, userAgent, secondary].filter((part) => part !== undefined && part !== '').join(' '),
    encoding,
    authority: options['grpc.default_authority'] ?? options['grpc.ssl_target_name_override'],
    service: config === undefined ? undefined : readServiceConfig(config, options['grpc.enable_retries'] !== 0),
  };
}

/** Negative is no limit, as in grpc-js. */
function limit(given: number | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  return given < 0 ? Number.POSITIVE_INFINITY : given;
}
