import { enumOf, message } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';
import { type TransportSocket, transportSocketSchema } from './base.ts';

/** `envoy.config.core.v3.ProxyProtocolConfig`. */
export interface ProxyProtocolConfig {
  readonly version: 'V1' | 'V2' | number;
}

export const proxyProtocolConfigSchema: Schema<ProxyProtocolConfig> = schema<ProxyProtocolConfig>(
  'envoy.config.core.v3.ProxyProtocolConfig',
  {
    fields: {
      version: single(1, enumOf('V1', 'V2')),
    },
    ignored: { 2: 'pass_through_tlvs', 3: 'added_tlvs' },
  },
);

/** `envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`. */
export interface ProxyProtocolUpstreamTransport {
  readonly config: ProxyProtocolConfig | undefined;
  readonly transport_socket: TransportSocket | undefined;
}

export const proxyProtocolUpstreamTransportSchema: Schema<ProxyProtocolUpstreamTransport> =
  schema<ProxyProtocolUpstreamTransport>(
    'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport',
    {
      fields: {
        config: single(
          1,
          message(() => proxyProtocolConfigSchema),
        ),
        transport_socket: single(
          2,
          message(() => transportSocketSchema),
        ),
      },
      ignored: { 3: 'allow_unspecified_address', 4: 'tlv_as_pool_key' },
    },
  );
