import { enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { optional, type Schema, schema, single } from '../schema.ts';

/** `envoy.config.core.v3.SocketAddress.Protocol`. */
export type SocketAddressProtocol = 'TCP' | 'UDP';

const socketAddressProtocolKind = enumOf('TCP', 'UDP');

/** `envoy.config.core.v3.SocketAddress`. */
export interface SocketAddress {
  readonly protocol: SocketAddressProtocol | number;
  readonly address: string;
  readonly port_value: number | undefined;
}

export const socketAddressSchema: Schema<SocketAddress> = schema<SocketAddress>('envoy.config.core.v3.SocketAddress', {
  fields: {
    protocol: single(1, socketAddressProtocolKind),
    address: single(2, string),
    port_value: optional(3, uint32),
  },
  ignored: { 4: 'named_port', 5: 'resolver_name', 6: 'ipv4_compat' },
});

/** `envoy.config.core.v3.Pipe`. */
export interface Pipe {
  readonly path: string;
}

export const pipeSchema: Schema<Pipe> = schema<Pipe>('envoy.config.core.v3.Pipe', {
  fields: {
    path: single(1, string),
  },
  ignored: { 2: 'mode' },
});

/** `envoy.config.core.v3.EnvoyInternalAddress`. */
export interface EnvoyInternalAddress {
  readonly server_listener_name: string | undefined;
  readonly endpoint_id: string;
}

export const envoyInternalAddressSchema: Schema<EnvoyInternalAddress> = schema<EnvoyInternalAddress>(
  'envoy.config.core.v3.EnvoyInternalAddress',
  {
    fields: {
      server_listener_name: optional(1, string),
      endpoint_id: single(2, string),
    },
  },
);

/** `envoy.config.core.v3.Address`. */
export interface Address {
  readonly socket_address: SocketAddress | undefined;
  readonly pipe: Pipe | undefined;
  readonly envoy_internal_address: EnvoyInternalAddress | undefined;
}

export const addressSchema: Schema<Address> = schema<Address>('envoy.config.core.v3.Address', {
  fields: {
    socket_address: single(
      1,
      message(() => socketAddressSchema),
    ),
    pipe: single(
      2,
      message(() => pipeSchema),
    ),
    envoy_internal_address: single(
      3,
      message(() => envoyInternalAddressSchema),
    ),
  },
  oneofs: [['socket_address', 'pipe', 'envoy_internal_address']],
});

/** `envoy.config.core.v3.CidrRange`. */
export interface CidrRange {
  readonly address_prefix: string;
  readonly prefix_len: number | undefined;
}

export const cidrRangeSchema: Schema<CidrRange> = schema<CidrRange>('envoy.config.core.v3.CidrRange', {
  fields: {
    address_prefix: single(1, string),
    prefix_len: single(2, wrapped(uint32)),
  },
});

/** `envoy.config.core.v3.TcpKeepalive`. */
export interface TcpKeepalive {
  readonly keepalive_probes: number | undefined;
  readonly keepalive_time: number | undefined;
  readonly keepalive_interval: number | undefined;
}

export const tcpKeepaliveSchema: Schema<TcpKeepalive> = schema<TcpKeepalive>('envoy.config.core.v3.TcpKeepalive', {
  fields: {
    keepalive_probes: single(1, wrapped(uint32)),
    keepalive_time: single(2, wrapped(uint32)),
    keepalive_interval: single(3, wrapped(uint32)),
  },
});
