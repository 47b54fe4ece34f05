import type { Provenance } from './provenance.ts';
import type { StringMatch } from './string-match.ts';

/** Who is asked about requests of CUSTOM policies: an `extensionProviders` entry of MeshConfig for Envoy's ext_authz. */
export interface ExternalAuthorizer {
  /** By which AuthorizationPolicies name it. */
  readonly name: string;
  /** `host:port` of the service, by the name that the registry knows; nothing when it is not there. */
  readonly service: string | undefined;
  /** How long an answer is waited for. Default 600,000, Istio's. */
  readonly timeoutMs: number;
  /** Requests pass when it cannot be asked, or fails. Default false: they are refused. */
  readonly failOpen: boolean;
  /** Status of those that are refused then. Default 403. */
  readonly statusOnError: number;
  /** Absent: it is told nothing of bodies. */
  readonly body?: CheckedBody;
  readonly protocol: HttpChecks | GrpcChecks;
  readonly provenance: Provenance;
}

/** `includeRequestBodyInCheck`. */
export interface CheckedBody {
  readonly maxBytes: number;
  /** A longer body is cut at `maxBytes`; otherwise the request is refused with 413. */
  readonly allowPartial: boolean;
  /** gRPC: the body is sent as bytes and not as text. */
  readonly asBytes: boolean;
}

/** `envoyExtAuthzGrpc`: `envoy.service.auth.v3.Authorization`. */
export interface GrpcChecks {
  readonly kind: 'grpc';
}

/** `envoyExtAuthzHttp`: the request itself, without its body, is sent to the service. */
export interface HttpChecks {
  readonly kind: 'http';
  /** Stands before the path of the request. */
  readonly pathPrefix: string;
  /** Headers that go along, besides those that always do. Values are lower case. */
  readonly requestHeaders: readonly StringMatch[];
  /** More headers, name and value. */
  readonly addedHeaders: readonly (readonly [string, string])[];
  readonly toUpstreamOnAllow: readonly StringMatch[];
  readonly toDownstreamOnAllow: readonly StringMatch[];
  /** None: all of them. */
  readonly toDownstreamOnDeny: readonly StringMatch[];
}
