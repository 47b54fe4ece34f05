import { type ClientCertDetails, defaultClientCertDetails } from '../lib/forwarded-client-cert.ts';
import type { AuthorizationPolicy } from './authorization.ts';
import type { ExternalAuthorizer } from './external-authorizer.ts';
import type { OverloadPolicy } from './overload.ts';
import type { Provenance } from './provenance.ts';
import type { GlobalRateLimit, LocalRateLimit } from './rate-limit.ts';
import type { ExternalCheck, PortScope, RbacFilter } from './rbac.ts';
import type { RequestAuthentication } from './request-authentication.ts';
import type { Fault, VirtualHost } from './route.ts';
import type { InboundTls } from './tls-parameters.ts';

/** What this workload demands of its callers. */
export interface InboundPolicy {
  readonly mtls: MtlsPolicy;
  /** What clients may speak of TLS. Absent: all that the mesh speaks. */
  readonly tls?: InboundTls;
  /** Policies that select this workload, in no particular order. */
  readonly authorization: readonly AuthorizationPolicy[];
  /** Envoy's RBAC filters, in the order in which they are asked, after {@link authorization}. Absent: none. */
  readonly rbac?: readonly RbacFilter[];
  /** Envoy's ext_authz filters. Absent: none. */
  readonly checks?: readonly ExternalCheck[];
  /** Whom CUSTOM policies among them name. One that is not here cannot be asked: what it is for is refused. */
  readonly authorizers?: readonly ExternalAuthorizer[];
  /** What browsers are told that call directly (VirtualService `corsPolicy`). Absent: nothing. */
  readonly cors?: readonly InboundCors[];
  /** What routes of a control plane say of requests, by the ports and hosts that they are for. Absent: nothing. */
  readonly routes?: readonly InboundRoutes[];
  /** RequestAuthentications that select this workload. Absent: tokens are not looked at. */
  readonly requestAuthentication?: readonly RequestAuthentication[];
  /**
   * How many proxies in front of this workload are trusted to have appended to `x-forwarded-for`
   * (Istio `gatewayTopology.numTrustedProxies`). Absent: 0, the peer of the connection is the caller.
   */
  readonly numTrustedProxies?: number;
  /** Limits on what this workload takes, in the order in which they are asked. Absent: none. */
  readonly localRateLimits?: readonly LocalRateLimit[];
  readonly globalRateLimits?: readonly GlobalRateLimit[];
  /** Absent: nothing is turned away. */
  readonly overload?: OverloadPolicy;
  /** Istio's Sidecar `inboundConnectionPool`, and that of its ingress listeners. Absent: no limits. */
  readonly pools?: InboundPools;
  /** What the application is told of client certificates. Absent: {@link defaultForwardClientCert}. */
  readonly forwardClientCert?: ForwardClientCert;
  /** Absent: `BASE`, Istio's default. */
  readonly pathNormalization?: PathNormalization;
}

/**
 * How much of a path is brought to one form before anything looks at it: Istio's
 * `pathNormalization`. `BASE` is Istio's default: RFC 3986 dot segments removed, `\` read as `/`,
 * unreserved characters decoded once.
 */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

/**
 * What happens to `x-forwarded-client-cert`, Envoy's `forward_client_cert_details`. In all modes but
 * the last nobody may send it who did not prove an identity of the mesh.
 *
 * - `SANITIZE`: the caller's is removed, none is set.
 * - `SANITIZE_SET`: the caller's is removed, the mesh sets its own.
 * - `FORWARD_ONLY`: the caller's is handed on.
 * - `APPEND_FORWARD`: the caller's is handed on with the mesh's own behind it.
 * - `ALWAYS_FORWARD_ONLY`: the caller's is handed on whoever sent it, in plaintext too.
 */
export type ForwardClientCertMode =
  | 'SANITIZE'
  | 'SANITIZE_SET'
  | 'FORWARD_ONLY'
  | 'APPEND_FORWARD'
  | 'ALWAYS_FORWARD_ONLY';

/** Istio's `proxyHeaders.forwardedClientCert` and `setCurrentClientCertDetails`. */
export interface ForwardClientCert {
  readonly mode: ForwardClientCertMode;
  readonly details: ClientCertDetails;
}

/** The application sees what the mesh itself has verified, and nothing else. Istio's sidecars append. */
export const defaultForwardClientCert: ForwardClientCert = {
  mode: 'SANITIZE_SET',
  details: defaultClientCertDetails,
};

/** `STRICT`: mTLS only. `PERMISSIVE` (default): both. `DISABLE`: plaintext only. */
export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** How much the ports of this workload take at a time. */
export interface InboundPools {
  /** By the port that the workload listens on. */
  readonly ports: ReadonlyMap<number, InboundPool>;
  /** Of all other ports, each for itself. Absent: no limits. */
  readonly others?: InboundPool;
}

/** Limits of one port; infinite where there is none. */
export interface InboundPool {
  /** Connections of a protocol that the mesh does not read, and HTTP/1.1 requests, that are served at once. */
  readonly maxConnections: number;
  /** HTTP/1.1 requests that wait for one of these. */
  readonly maxPendingRequests: number;
  /** Requests of any version that are served at once. */
  readonly maxRequests: number;
}

/**
 * What routes of a control plane say of requests to some ports: CORS, faults and time. Where requests go is not among
 * it, since the application routes for itself.
 */
export interface InboundRoutes {
  /** Absent: for all ports. */
  readonly scope?: PortScope;
  readonly hosts: readonly {
    /** Names that requests are for, lower case, as Envoy writes them: `web`, `web:80`, `*.example.com`, `web.*`, `*`. */
    readonly domains: readonly string[];
    readonly virtualHost: VirtualHost;
  }[];
  /** Of requests whose route has none of its own. */
  readonly fault?: Fault;
}

/** CORS of a service that this workload is behind. */
export interface InboundCors {
  /** By which it is called, lower case and without port. */
  readonly hosts: readonly string[];
  /** Its rules; those without `cors` say nothing. */
  readonly virtualHost: VirtualHost;
}

/** Result of merging the PeerAuthentications that apply: workload over namespace over mesh. */
export interface MtlsPolicy {
  readonly mode: MtlsMode;
  /** `portLevelMtls`, by the port that the workload listens on. */
  readonly ports: ReadonlyMap<number, MtlsMode>;
  readonly provenance?: Provenance;
}

/** What Istio does without any policy: mTLS accepted but not demanded, everybody allowed. */
export const defaultInboundPolicy: InboundPolicy = {
  mtls: { mode: 'PERMISSIVE', ports: new Map() },
  authorization: [],
};
