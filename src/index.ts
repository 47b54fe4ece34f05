import './lib/require-node.ts';

export type { AuthorizationAudit } from './authz/report.ts';
export type { AuthorizationCount } from './authz/tallies.ts';
export type { ConfigProblem, ConfigSink, ConfigSource, EnforcementEntry, EnforcementReport } from './config/source.ts';
export type { ConnectOptions } from './connect.ts';
export { causeOf, MeshError, type MeshErrorCode, type MeshErrorDetails } from './errors.ts';
export type { ExplainRequest } from './explain/request.ts';
export type { InboundExplanation, OutboundExplanation } from './explain/result.ts';
export type {
  AuthorizationCheck,
  AuthorizationVerdict,
  CheckAttributes,
  CheckBody,
  CheckPeer,
  ExternalAuthorization,
  HeaderAction,
  HeaderMutation,
} from './ext-authz/service.ts';
export type { FallbackFunction, FallbackResponse, RefusedRequest } from './fallback-api.ts';
export type { FaultStatus } from './fault/active.ts';
export { dropRemovedQuery } from './host/parsed-query.ts';
export type { Credentials, IdentitySink, IdentitySource } from './identity/source.ts';
export type { IdentityHealth } from './identity/store.ts';
export type { ListenerStatus } from './inbound.ts';
export type { TcpConnection, TcpHandler, TcpServing } from './inbound-tcp.ts';
export type { JwksStatus } from './jwt/key-sources.ts';
export {
  type ForwardedClientCert,
  parseForwardedClientCert,
} from './lib/forwarded-client-cert.ts';
export type { Logger } from './lib/logger.ts';
export { type BodySource, replayable } from './lib/replayable-body.ts';
export { createMesh } from './mesh.ts';
export type {
  Application,
  BreakerStatus,
  ClusterStatus,
  ConfigCounts,
  EndpointStatus,
  Explained,
  FastifyLike,
  HealthCheckStatus,
  IdentityStatus,
  ListenOptions,
  Mesh,
  MeshEvents,
  MeshHealth,
  MeshOptions,
  MeshServer,
  MeshStats,
  OutlierDetectionStatus,
} from './mesh-api.ts';
export { logLevels, type MeshInspection, type PublicCertificates } from './mesh-inspect.ts';
export type { MeshTracer, TracingSettings } from './mesh-tracing.ts';
export {
  type MetricFamiliesOptions,
  type MetricsPage,
  meshMetricsText,
  metricFamilies,
} from './metric-families.ts';
export type { OutboundPolicy } from './model/snapshot.ts';
export type { CustomTag, ProviderHeader, TracingDirection, TracingPolicy, TracingProvider } from './model/tracing.ts';
export type { Workload } from './model/workload.ts';
export type { OverloadStatus } from './overload/protection.ts';
export type { AuthorizationDecision } from './pipeline/authorization-decision.ts';
export { type RequestContext, requestContext } from './pipeline/request-context.ts';
export type { Peer, Scope } from './pipeline/scope.ts';
export type {
  ParentSampledLimits,
  Span,
  SpanAttributes,
  SpanContext,
  SpanEnd,
  SpanStart,
  TraceForm,
  Tracing,
} from './pipeline/tracing.ts';
export type {
  RateLimitQuestion,
  RateLimitService,
  RateLimitValue,
  RateLimitVerdict,
} from './ratelimit/service.ts';
export type { AuthorizerStatus } from './server-authorizers.ts';
export type { RateLimitStatus } from './server-limits.ts';
export type { AccessLogSettings } from './telemetry/access-log.ts';
export type { LoggedQuery } from './telemetry/access-record.ts';
export type { MetricFamily, MetricHistogram, MetricSample } from './telemetry/metric-family.ts';
export {
  bucketBoundsMs,
  istioBounds,
  type OutcomeSnapshot,
  quantileMs,
  type SeriesLabels,
  type SeriesSnapshot,
  type SizeSnapshot,
  type TcpSeriesSnapshot,
} from './telemetry/metrics.ts';
export { type MetricsFormat, metricsContentTypes, metricsFormat, prometheusText } from './telemetry/prometheus.ts';
export type { RouteStatus } from './telemetry/route-stats.ts';
export type { InboundConnections } from './transport/connection-counts.ts';
export type { GrpcApplication } from './transport/grpc-hand-over.ts';
export type { AcceptorLimits as InboundLimits } from './transport/limits.ts';
export { type MeshServerOptions, meshServerOptions } from './transport/server-options.ts';
