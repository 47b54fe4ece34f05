import { type HeaderList, headerValue } from '../lib/header-list.ts';
import type { TracingDirection } from '../model/tracing.ts';
import type { SpanAttributes, SpanEnd } from '../pipeline/tracing.ts';
import { addCustomTags } from './custom-tags.ts';
import { addGrpcCall, addGrpcStatus, addPeerAddress, addServer, methodOf, pathOnly } from './message-attributes.ts';
import type { TraceNode } from './server-attributes.ts';

/** The request of a call, or one of node:http, as its span sees it. */
export interface TracedRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: HeaderList;
}

/** How it went. */
export interface TracedEnd {
  /** `outbound|9080|v1|reviews…`; '' when the call was not routed. */
  readonly cluster: string;
  /** `10.0.0.7:9080`; '' when no endpoint was chosen. */
  readonly endpoint: string;
  /** 0: no response. */
  readonly status: number;
  /** Envoy's response flags, '' for none. */
  readonly flag: string;
  readonly tries: number;
  /** Code of the error, or its name; absent: there was none. */
  readonly failure: string | undefined;
  /** -1: none. */
  readonly grpcStatus: number;
  /** Absent: not counted. */
  readonly requestBytes?: number;
  readonly responseBytes?: number;
}

/** What is said of calls that are made. */
export interface ClientAttributes {
  /** `origin`: `http://reviews:9080`. */
  start(request: TracedRequest, origin: string, policy: TracingDirection): SpanAttributes;
  end(request: TracedRequest, origin: string, end: TracedEnd, endTimeMs: number): SpanEnd;
  /** Name of the span of a call that goes to this cluster. */
  name(cluster: string, origin: string): string;
}

/** Names are made once; there are as many as there are clusters and hosts outside, but not without end. */
const maxNames = 10_000;

/** OpenTelemetry's attributes of HTTP clients, then those that Envoy has and OpenTelemetry has not. */
export function createClientAttributes(node: TraceNode): ClientAttributes {
  const names = new Map<string, string>();
  const name = (cluster: string, origin: string): string => {
    const key = cluster.includes('|') ? cluster : origin;
    let made = names.get(key);
    if (made === undefined) {
      if (names.size >= maxNames) names.clear();
      names.set(key, (made = operationOf(key)));
    }
    return made;
  };
  return {
    name,
    start({ headers, method, path }, origin, policy) {
      const header = (wanted: string): string | undefined => headerValue(headers, wanted);
      const attributes: SpanAttributes = {
        'http.request.method': methodOf(method),
        'url.full': `${origin}${pathOnly(path, policy.maxPathLength)}`,
        component: 'proxy',
        node_id: node.id,
      };
      addServer(attributes, authorityOf(origin), origin.startsWith('https:') ? 443 : 80);
      addGrpcCall(attributes, header('content-type'), path);
      if (policy.istioTags) Object.assign(attributes, node.istioTags);
      addCustomTags(attributes, policy.customTags, header, node.environment);
      return attributes;
    },
    end({ headers }, origin, end, endTimeMs) {
      const { cluster, endpoint, failure, flag, grpcStatus, requestBytes, responseBytes, status, tries } = end;
      const attributes: SpanAttributes = { response_flags: flag === '' ? '-' : flag };
      if (requestBytes !== undefined) attributes['request_size'] = requestBytes;
      if (responseBytes !== undefined) attributes['response_size'] = responseBytes;
      if (cluster !== '') attributes['upstream_cluster'] = cluster;
      if (endpoint.includes(':')) {
        attributes['upstream_address'] = endpoint;
        addPeerAddress(attributes, endpoint);
      }
      const requestId = headerValue(headers, 'x-request-id');
      if (requestId !== undefined) attributes['guid:x-request-id'] = requestId;
      if (status !== 0) attributes['http.response.status_code'] = status;
      if (tries > 1) attributes['http.request.resend_count'] = tries - 1;
      const failedCall = addGrpcStatus(attributes, grpcStatus, 'client');
      const error = failure ?? failedCall ?? (status >= 400 ? String(status) : undefined);
      if (error !== undefined) attributes['error.type'] = error;
      return { name: name(cluster, origin), attributes, error, endTimeMs };
    },
  };
}

function authorityOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2);
}

/** `outbound|9080|v1|reviews.bookinfo.svc.cluster.local` is `reviews.bookinfo.svc.cluster.local:9080/*`. */
function operationOf(key: string): string {
  const [, port, , host] = key.split('|');
  return host === undefined ? `${authorityOf(key)}/*` : `${host}:${port}/*`;
}
