import { join } from 'node:path';
import { type Message, typed } from './bootstrap.ts';
import { accessLogFile } from './run.ts';

/** What an Envoy knows of a request's connection, by the header in which our servers see it. */
export const seen: Readonly<Record<string, string>> = {
  'x-seen-chain': '%FILTER_CHAIN_NAME%',
  'x-seen-local-san': '%DOWNSTREAM_LOCAL_URI_SAN%',
  'x-seen-peer-san': '%DOWNSTREAM_PEER_URI_SAN%',
  'x-seen-protocol': '%PROTOCOL%',
  'x-seen-sni': '%REQUESTED_SERVER_NAME%',
  'x-seen-tls': '%DOWNSTREAM_TLS_VERSION%',
};

/** What makes one connection manager differ from another. */
export interface HttpFilterOptions {
  readonly manager?: Message;
  readonly virtualHost?: Message;
  readonly route?: Message;
  /** Put what {@link seen} names into the request. */
  readonly withSeen?: boolean;
}

/** Filter `http_connection_manager` that sends everything to one cluster. */
export function httpFilter(clusterName: string, options: HttpFilterOptions = {}): Message {
  const headers = Object.entries(seen).map(([key, value]) => ({
    header: { key, value },
    append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
  }));
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: clusterName,
      route_config: {
        name: clusterName,
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: clusterName, timeout: '0s', ...options.route } }],
            ...options.virtualHost,
          },
        ],
        ...(options.withSeen === true ? { request_headers_to_add: headers } : {}),
      },
      http_filters: [
        { name: 'envoy.filters.http.router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router') },
      ],
      normalize_path: true,
      ...options.manager,
    }),
  };
}

/** Filter `tcp_proxy` to one cluster; writes a line for each connection. */
export function tcpFilter(clusterName: string, folder: string): Message {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: typed('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', {
      stat_prefix: clusterName,
      cluster: clusterName,
      access_log: [
        {
          name: 'envoy.access_loggers.file',
          typed_config: typed('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
            path: join(folder, accessLogFile),
            log_format: { json_format: seen },
          }),
        },
      ],
    }),
  };
}
