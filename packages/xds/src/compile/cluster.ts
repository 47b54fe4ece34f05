import type { Cluster } from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import { clusterSchema, type Cluster as Message } from '../proto/envoy/cluster.ts';
import { aggregateClusterConfigSchema } from '../proto/envoy/cluster-parts.ts';
import { ResourceError } from '../resources.ts';
import { loadAssignmentOf, type ReadEndpoints } from './endpoints.ts';
import { balanceOf, type ReadBalance } from './outbound-balance.ts';
import { healthCheckOf } from './outbound-health.ts';
import { limitsOf, protocolOf, retryBudgetOf } from './outbound-limits.ts';
import { outlierOf } from './outbound-outlier.ts';
import { createRemarks, type Remark, type Remarks } from './outbound-remarks.ts';
import { type ReadTls, tlsOf } from './outbound-tls.ts';
import { type Read, readerOf } from './reader.ts';
import { unpackAt } from './unpack.ts';

/** Where the endpoints of a cluster are. */
export type ReadDiscovery =
  | { readonly kind: 'eds'; readonly service: string }
  | { readonly kind: 'static' | 'dns' | 'dns-first'; readonly endpoints: ReadEndpoints }
  | { readonly kind: 'original'; readonly port?: number }
  /** Those of other clusters, one after another. */
  | { readonly kind: 'aggregate'; readonly clusters: readonly string[] };

/** A cluster that can be used, without its endpoints. */
export interface ReadCluster {
  /** Everything but what follows from endpoints and from the routes that lead there. */
  readonly policy: Omit<Cluster, 'discovery' | 'hash' | 'localities' | 'protocol'>;
  readonly hash: ReadBalance['hash'];
  readonly locality: ReadBalance['locality'];
  readonly discovery: ReadDiscovery;
  readonly speaksMtls: ReadTls['speaksMtls'];
  readonly remarks: readonly Remark[];
}

/** Parts of a name as Istio gives it: `outbound|9080|v1|reviews.bookinfo.svc.cluster.local`. */
export interface ClusterIdentity {
  readonly host: string;
  readonly port: number;
  readonly subset: string;
}

/** Other names stand for themselves, without a port. */
export function identityOf(name: string): ClusterIdentity {
  const [direction, port = '', subset = '', host = '', ...rest] = name.split('|');
  const number = Number(port);
  const isIstio = direction === 'outbound' && rest.length === 0 && host !== '' && /^\d{1,5}$/.test(port);
  return isIstio && number <= 65_535 ? { host, port: number, subset } : { host: name, port: 0, subset: '' };
}

/** Reads a cluster. @throws ResourceError for one that cannot be used */
export const readCluster: (any: Any) => Read<ReadCluster> = readerOf('clusters', clusterSchema, (message) =>
  clusterOf(message),
);

/** Envoy's, below which health is ignored. */
const defaultPanicPercent = 50;

function clusterOf(message: Message): ReadCluster {
  const { name } = message;
  if (name === '') throw new ResourceError('name', 'must not be empty');
  const remarks = createRemarks();
  const identity = identityOf(name);
  const { host, port, subset } = identity;
  const balance = balanceOf(message, remarks);
  const protocol = protocolOf(message, remarks);
  const minHealthPercent = message.common_lb_config?.healthy_panic_threshold?.value ?? defaultPanicPercent;
  const healthCheck = healthCheckOf(
    message.health_checks,
    {
      host,
      minHealthPercent,
      ignoreNew: message.common_lb_config?.ignore_new_hosts_until_first_hc ?? false,
    },
    remarks,
  );
  const { proxyProtocol, serverIdentities, serverName, speaksMtls, tls, tlsParameters } = tlsOf(
    message,
    { defaultServerNames: [`outbound_.${port}_.${subset}_.${host}`, name], upstream: protocol.upstream },
    remarks,
  );
  const retryBudget = retryBudgetOf(message, remarks);
  const discovery = discoveryOf(message, balance, remarks);
  return {
    policy: {
      name,
      host,
      port,
      subset,
      ...(protocol.http2 === undefined ? {} : { http2: protocol.http2 }),
      balance: balance.balance,
      ...(balance.warmup === undefined ? {} : { warmup: balance.warmup }),
      tls,
      ...(tlsParameters === undefined ? {} : { tlsParameters }),
      ...(serverName === undefined ? {} : { serverName }),
      ...(message.outlier_detection === undefined
        ? {}
        : { outlier: outlierOf(message.outlier_detection, minHealthPercent) }),
      ...(healthCheck === undefined ? {} : { healthCheck }),
      limits: limitsOf(message, protocol),
      ...(retryBudget === undefined ? {} : { retryBudget }),
      ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
      serverIdentities,
    },
    hash: balance.hash,
    locality: balance.locality,
    discovery,
    speaksMtls,
    remarks: remarks.all,
  };
}

function discoveryOf(message: Message, balance: ReadBalance, remarks: Remarks): ReadDiscovery {
  const { cluster_type: custom, eds_cluster_config: eds, load_assignment: inline, name, type } = message;
  if (custom !== undefined) return customDiscovery(message);
  const assigned = (): ReadEndpoints => {
    if (inline === undefined)
      throw new ResourceError('load_assignment', `is missing: a cluster of type ${type} needs it`);
    const read = loadAssignmentOf(inline, 'load_assignment');
    for (const { field, note, status } of read.remarks) remarks[status](field, note);
    return read;
  };
  switch (type ?? 'STATIC') {
    case 'EDS':
      if (eds === undefined)
        throw new ResourceError('eds_cluster_config', 'is missing: a cluster of type EDS needs it');
      if (eds.eds_config?.ads === undefined && eds.eds_config?.self === undefined) {
        throw new ResourceError(
          'eds_cluster_config.eds_config',
          'expected ads or self: endpoints come on the same stream',
        );
      }
      return { kind: 'eds', service: eds.service_name === '' ? name : eds.service_name };
    case 'STATIC':
      // Istio's BlackHoleCluster has no endpoints at all.
      return { kind: 'static', endpoints: inline === undefined ? { ...noEndpoints, name } : assigned() };
    case 'STRICT_DNS':
      return { kind: 'dns', endpoints: assigned() };
    case 'LOGICAL_DNS': {
      const endpoints = assigned();
      if (endpoints.endpoints.length !== 1) {
        throw new ResourceError(
          'load_assignment',
          'expected one endpoint: a cluster of type LOGICAL_DNS has one name',
          {
            value: endpoints.endpoints.length,
          },
        );
      }
      return { kind: 'dns-first', endpoints };
    }
    case 'ORIGINAL_DST': {
      const config = message.original_dst_lb_config;
      if (config?.use_http_header === true) {
        throw new ResourceError(
          'original_dst_lb_config.use_http_header',
          'callers do not choose addresses by headers',
          {
            unenforceable: true,
          },
        );
      }
      const port = config?.upstream_port_override;
      if (port !== undefined && port > 65_535) {
        throw new ResourceError('original_dst_lb_config.upstream_port_override', 'expected a port', { value: port });
      }
      return { kind: 'original', ...(port === undefined || port === 0 ? {} : { port }) };
    }
    default:
      if (balance.original === true) return { kind: 'original' };
      throw new ResourceError('type', 'expected STATIC, EDS, STRICT_DNS, LOGICAL_DNS or ORIGINAL_DST', { value: type });
  }
}

const noEndpoints: Omit<ReadEndpoints, 'name'> = { endpoints: [], weights: [], drops: [], remarks: [] };
const dynamicForwardProxy = 'envoy.clusters.dynamic_forward_proxy';

function customDiscovery({ cluster_type: custom }: Message): ReadDiscovery {
  const path = 'cluster_type.typed_config';
  if (custom?.name === dynamicForwardProxy) return { kind: 'original' };
  const aggregate = unpackAt(aggregateClusterConfigSchema, custom?.typed_config, path);
  if (aggregate === undefined) {
    throw new ResourceError(
      'cluster_type',
      'expected envoy.clusters.aggregate or envoy.clusters.dynamic_forward_proxy',
      {
        value: custom?.name,
      },
    );
  }
  if (aggregate.clusters.length === 0) throw new ResourceError(`${path}.clusters`, 'must not be empty');
  return { kind: 'aggregate', clusters: aggregate.clusters };
}
