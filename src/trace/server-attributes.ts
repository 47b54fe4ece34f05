import type { TracingDirection } from '../model/tracing.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { SpanAttributes, SpanEnd } from '../pipeline/tracing.ts';
import { addCustomTags } from './custom-tags.ts';
import { addGrpcCall, addGrpcStatus, addServer, methodOf, pathOnly } from './message-attributes.ts';

/** Who this process is, in words of Envoy and Istio. */
export interface TraceNode {
  /** Envoy's `node_id`. */
  readonly id: string;
  /** Full name of the own service, for the names of server spans. */
  readonly service: string;
  /** `istio.canonical_service` and the like. */
  readonly istioTags: SpanAttributes;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** What is said of requests that are served. */
export interface ServerAttributes {
  /** As Istio names its operations: `reviews.bookinfo.svc.cluster.local:9080/*`. */
  name(call: ServerCall): string;
  start(call: ServerCall, policy: TracingDirection, header: (name: string) => string | undefined): SpanAttributes;
  end(call: ServerCall, policy: TracingDirection, endTimeMs: number): SpanEnd;
}

/** Longest `user-agent` that is recorded. */
const maxUserAgent = 256;

/**
 * OpenTelemetry's attributes of HTTP servers, then those that Envoy has and OpenTelemetry has not. No
 * query, which may hold tokens, and nothing of the body.
 */
export function createServerAttributes(node: TraceNode): ServerAttributes {
  const byPort = new Map<number, string>();
  const name = ({ localPort }: ServerCall): string => {
    let made = byPort.get(localPort);
    if (made === undefined) byPort.set(localPort, (made = `${node.service}:${localPort}/*`));
    return made;
  };
  return {
    name,
    start(call, policy, header) {
      const { connection, host, method, request } = call;
      const secure = connection?.encrypted ?? (request.socket as { encrypted?: boolean } | null)?.encrypted === true;
      const overHttp2 = connection?.overHttp2 ?? request.httpVersionMajor === 2;
      const attributes: SpanAttributes = {
        'http.request.method': methodOf(method),
        'url.path': pathOnly(call.path, policy.maxPathLength),
        'url.scheme': secure ? 'https' : 'http',
        'network.protocol.name': 'http',
        'network.protocol.version': overHttp2 ? '2' : request.httpVersion,
        component: 'proxy',
        node_id: node.id,
      };
      addServer(attributes, host);
      const { remoteAddress, sourceAddress } = call;
      if (remoteAddress !== undefined) attributes['client.address'] = remoteAddress;
      if (sourceAddress !== undefined) {
        attributes['network.peer.address'] = sourceAddress;
        attributes['peer.address'] = sourceAddress;
      }
      const agent = header('user-agent');
      if (agent !== undefined) attributes['user_agent.original'] = agent.slice(0, maxUserAgent);
      addGrpcCall(attributes, header('content-type'), call.path);
      if (policy.istioTags) Object.assign(attributes, node.istioTags);
      addCustomTags(attributes, policy.customTags, header, node.environment);
      return attributes;
    },
    end(call, policy, endTimeMs) {
      const { response } = call;
      const status = response.headersSent ? response.statusCode : 0;
      const flag = response.writableFinished ? call.flag : 'DC';
      const attributes: SpanAttributes = { response_flags: flag === '' ? '-' : flag };
      // Set by the mesh where the caller sent none.
      const requestId = call.request.headers['x-request-id'];
      if (typeof requestId === 'string') attributes['guid:x-request-id'] = requestId;
      if (call.peer !== undefined && policy.istioTags) attributes['istio.source_principal'] = call.peer.spiffeId;
      if (status !== 0) attributes['http.response.status_code'] = status;
      const failedCall = addGrpcStatus(attributes, call.grpcStatus, 'server');
      const error = failedCall ?? (status >= 500 ? String(status) : undefined);
      if (error !== undefined) attributes['error.type'] = error;
      return { name: name(call), attributes, error, endTimeMs };
    },
  };
}
