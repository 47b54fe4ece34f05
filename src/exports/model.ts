/**
 * Published as `inmesh/model`: what a mesh is told, for sources of configuration other than Istio YAML.
 */
import '../lib/require-node.ts';

export { unknownHeaderOperators } from '../lib/header-format.ts';
export { compileReplacement } from '../lib/regex.ts';
export { type ReadTlsWords, readCipherSuites, readCurves } from '../lib/tls-words.ts';
export type {
  AuthorizationAction,
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  ClaimCondition,
  HeaderCondition,
  IpBlock,
  PathPattern,
  ServiceMatch,
} from '../model/authorization.ts';
export {
  type BalancePolicy,
  type Cluster,
  type ConnectionLimits,
  type ConsistentHash,
  clusterName,
  type Discovery,
  type DropOverload,
  defaultConnectionLimits,
  type EjectionCause,
  type Endpoint,
  type FailurePercentagePolicy,
  type HashKey,
  type Http2Keepalive,
  type IstioBalancePolicy,
  type LocalityBalance,
  type LocalityWeight,
  type OriginatedTls,
  type OutlierPolicy,
  type RetryBudget,
  type ServiceProtocol,
  type SuccessRatePolicy,
  type TcpKeepalive,
  type TunnelPolicy,
  type UpstreamTls,
  type WarmupPolicy,
} from '../model/cluster.ts';
export type { CheckedBody, ExternalAuthorizer, GrpcChecks, HttpChecks } from '../model/external-authorizer.ts';
export type {
  GrpcProbe,
  HealthCheckPolicy,
  HttpProbe,
  ProbeAnswer,
  StatusRange,
  TcpProbe,
} from '../model/health-check.ts';
export {
  defaultForwardClientCert,
  defaultInboundPolicy,
  type ForwardClientCert,
  type ForwardClientCertMode,
  type InboundCors,
  type InboundPolicy,
  type InboundRoutes,
  type MtlsMode,
  type MtlsPolicy,
  type PathNormalization,
} from '../model/inbound.ts';
export type { Locality } from '../model/locality.ts';
export type {
  AdaptivePolicy,
  ConcurrencyPolicy,
  EventLoopPolicy,
  OverloadPolicy,
  PriorityPolicy,
} from '../model/overload.ts';
export type { Provenance } from '../model/provenance.ts';
export type {
  GlobalRateLimit,
  LocalRateLimit,
  RateLimitDescriptor,
  RateLimitEntry,
  RateLimitHeaders,
  RateLimitKey,
  TokenBucket,
} from '../model/rate-limit.ts';
export type {
  ExternalCheck,
  PortScope,
  RbacFilter,
  RbacHeaderMatch,
  RbacMatch,
  RbacPolicy,
  RbacRules,
  RbacValueMatch,
} from '../model/rbac.ts';
export type {
  ClaimHeader,
  JwtKeys,
  JwtRule,
  RequestAuthentication,
  TokenHeader,
} from '../model/request-authentication.ts';
export {
  type ConnectionRoute,
  type CorsPolicy,
  type DirectResponse,
  defaultRetryPolicy,
  type Fault,
  type HeaderEdit,
  type HeaderEdits,
  type HeaderMatch,
  type HeaderValue,
  type HedgePolicy,
  type Mirror,
  type QueryMatch,
  type Redirect,
  type RegexRewrite,
  type RetryOn,
  type RetryPolicy,
  type Rewrite,
  type Route,
  type RouteMatch,
  retryOnWords,
  type SkippedRule,
  type StickySplit,
  type VirtualHost,
  type WeightedDestination,
} from '../model/route.ts';
export type { OutboundPolicy, Snapshot, WildcardHost } from '../model/snapshot.ts';
export { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
export type { InboundTls, TlsParameters, TlsVersion } from '../model/tls-parameters.ts';
export {
  type CustomTag,
  defaultTracingPolicy,
  type ProviderHeader,
  type TracingDirection,
  type TracingPolicy,
  type TracingProvider,
} from '../model/tracing.ts';
export type { MeshTrust, TrustAnchor } from '../model/trust.ts';
export { localityOfWorkload, type Workload, workloadSpiffeId } from '../model/workload.ts';
