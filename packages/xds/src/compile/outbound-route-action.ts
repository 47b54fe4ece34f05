import type { HashKey, HeaderEdits, Mirror, Route, WeightedDestination } from 'inmesh/model';
import type { RetryPolicy } from '../proto/envoy/retry-policy.ts';
import type { HedgePolicy, RequestMirrorPolicy, RouteAction, WeightedCluster } from '../proto/envoy/route-action.ts';
import { ResourceError } from '../resources.ts';
import type { XdsProfile } from './compile.ts';
import { unavailable } from './outbound-answers.ts';
import { hashKeysOf } from './outbound-hash.ts';
import { allEdits, headerEditsOf, withoutAuthority } from './outbound-headers.ts';
import { lineOf, percentOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { hedgeOf, retryOf } from './outbound-retry.ts';
import { rewriteOf } from './outbound-rewrite.ts';
import type { PathTemplate } from './path-template.ts';

/** What holds for routes that do not say it themselves. */
export interface ActionDefaults {
  readonly profile: XdsProfile;
  readonly retry: RetryPolicy | undefined;
  readonly hedge: HedgePolicy | undefined;
  readonly mirrors: readonly RequestMirrorPolicy[];
  /** Edits of the route and of all levels above it. */
  readonly headers: HeaderEdits | undefined;
  readonly template: PathTemplate | undefined;
}

export interface ReadAction {
  readonly route: Pick<
    Route,
    'destinations' | 'direct' | 'headers' | 'hedge' | 'mirrors' | 'perTryIdleMs' | 'retry' | 'rewrite' | 'timeoutMs'
  >;
  /** What of its requests is hashed, for clusters that want to know. */
  readonly hashKeys: readonly HashKey[];
}

/** What becomes of a request that goes somewhere. */
export function actionOf(message: RouteAction, defaults: ActionDefaults, path: string, remarks: Remarks): ReadAction {
  const nowhere = whyNowhere(message);
  const { headers } = defaults;
  if (nowhere !== undefined) {
    remarks.ignored(`${path}.${nowhere}`, 'the cluster cannot be chosen so: calls are answered with 503');
    return { route: { destinations: [], direct: unavailable }, hashKeys: [] };
  }
  const hashKeys = hashKeysOf(message.hash_policy, `${path}.hash_policy`, remarks);
  const { authority, edits } = withoutAuthority(headers);
  const rewrite = rewriteOf(message, defaults.template, authority, path, remarks);
  const { destinations, only } = destinationsOf(message, rewrite?.authority === undefined, path, remarks);
  const all = allEdits(only, edits);
  const { perTryIdleMs, retry } = retryOf(
    message.retry_policy ?? defaults.retry,
    hashKeys.length > 0,
    `${path}.retry_policy`,
    remarks,
  );
  const hedge = hedgeOf(message.hedge_policy ?? defaults.hedge, retry);
  const timeoutMs = timeoutOf(message, defaults.profile);
  const given = message.request_mirror_policies;
  const mirrors = mirrorsOf(given.length > 0 ? given : defaults.mirrors, `${path}.request_mirror_policies`, remarks);
  if (message.idle_timeout !== undefined && message.idle_timeout > 0) {
    remarks.ignored(`${path}.idle_timeout`, 'there is only a time for each try (per_try_idle_timeout)');
  }
  return {
    route: {
      destinations,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(perTryIdleMs === undefined ? {} : { perTryIdleMs }),
      ...(retry === undefined ? {} : { retry }),
      ...(hedge === undefined ? {} : { hedge }),
      ...(rewrite === undefined ? {} : { rewrite }),
      ...(all === undefined ? {} : { headers: all }),
      ...(mirrors.length === 0 ? {} : { mirrors }),
    },
    hashKeys,
  };
}

function whyNowhere(message: RouteAction): string | undefined {
  if (message.cluster_header !== undefined) return 'cluster_header';
  if (message.cluster_specifier_plugin !== undefined) return 'cluster_specifier_plugin';
  if (message.inline_cluster_specifier_plugin !== undefined) return 'inline_cluster_specifier_plugin';
  return message.weighted_clusters?.clusters.some(({ cluster_header: header }) => header !== '') === true
    ? 'weighted_clusters.clusters.cluster_header'
    : undefined;
}

interface Destinations {
  readonly destinations: readonly WeightedDestination[];
  /** Edits of the only destination: they are those of the route. */
  readonly only?: HeaderEdits | undefined;
}

function destinationsOf(message: RouteAction, ownAuthority: boolean, path: string, remarks: Remarks): Destinations {
  const { cluster, weighted_clusters: weighted } = message;
  if (weighted !== undefined) return splitOf(weighted, ownAuthority, `${path}.weighted_clusters`, remarks);
  if (cluster === undefined || cluster === '') {
    throw new ResourceError(path, 'needs one of cluster, weighted_clusters and cluster_header');
  }
  return { destinations: [{ cluster, weight: 1 }] };
}

const maxWeight = 4_294_967_295;

function splitOf(message: WeightedCluster, ownAuthority: boolean, path: string, remarks: Remarks): Destinations {
  const { clusters } = message;
  if (clusters.length === 0) throw new ResourceError(`${path}.clusters`, 'must not be empty');
  let sum = 0;
  const all = clusters.map((each, index) => {
    const at = `${path}.clusters[${index}]`;
    if (each.name === '') throw new ResourceError(`${at}.name`, 'must not be empty');
    const weight = each.weight ?? 0;
    sum += weight;
    const { authority, edits } = withoutAuthority(headerEditsOf(each, at, remarks));
    const literal = lineOf(each.host_rewrite_literal, `${at}.host_rewrite_literal`);
    const host = literal === undefined || literal === '' ? authority : literal;
    const replaced = host === undefined || !ownAuthority ? [] : [{ name: 'host', value: host }];
    const { request } = edits ?? {};
    const headers: HeaderEdits | undefined =
      replaced.length === 0
        ? edits
        : { ...edits, request: { add: [], remove: [], ...request, set: [...replaced, ...(request?.set ?? [])] } };
    if (each.typed_per_filter_config.size > 0) {
      remarks.ignored(`${at}.typed_per_filter_config`, 'filters are set for whole routes');
    }
    return { cluster: each.name, weight, ...(headers === undefined ? {} : { headers }) };
  });
  if (sum === 0 || sum > maxWeight) {
    throw new ResourceError(`${path}.clusters`, `expected weights with a sum from 1 to ${maxWeight}`, { value: sum });
  }
  const total = message.total_weight;
  if (total !== undefined && total !== sum) {
    remarks.ignored(`${path}.total_weight`, `the sum of the weights counts, which is ${sum}`);
  }
  const used = all.filter(({ weight }) => weight > 0);
  const [first] = used;
  if (used.length === 1 && first !== undefined) {
    const { cluster, headers, weight } = first;
    return { destinations: [{ cluster, weight }], only: headers };
  }
  return { destinations: used };
}

/** Envoy's time for a route that says nothing. */
const envoyDefaultMs = 15_000;

/**
 * Envoy: `timeout`, by default 15 s, and beside it `max_stream_duration`. gRPC knows the latter alone
 * (gRFC A31). 0 is no limit.
 */
function timeoutOf(message: RouteAction, profile: XdsProfile): number | undefined {
  const { max_grpc_timeout: maxGrpc, max_stream_duration: stream, timeout } = message;
  const ofStream = positive(stream?.grpc_timeout_header_max ?? stream?.max_stream_duration);
  if (profile === 'grpc') return ofStream;
  const knows = stream?.max_stream_duration !== undefined || stream?.grpc_timeout_header_max !== undefined;
  const own = timeout ?? (knows || maxGrpc !== undefined ? 0 : envoyDefaultMs);
  const whole = positive(stream?.max_stream_duration);
  const first = positive(own);
  return first === undefined || whole === undefined ? (first ?? whole) : Math.min(first, whole);
}

function positive(ms: number | undefined): number | undefined {
  return ms === undefined || ms <= 0 ? undefined : ms;
}

function mirrorsOf(policies: readonly RequestMirrorPolicy[], path: string, remarks: Remarks): readonly Mirror[] {
  return policies.flatMap((policy, index) => {
    const at = `${path}[${index}]`;
    if (policy.cluster === '') {
      remarks.ignored(at, 'a copy is sent to a cluster that is named, and to none that a header names');
      return [];
    }
    const { runtime_fraction: fraction } = policy;
    const percent =
      fraction === undefined ? 100 : percentOf(fraction.default_value, `${at}.runtime_fraction.default_value`, 100);
    return percent === 0 ? [] : { cluster: policy.cluster, percent };
  });
}
