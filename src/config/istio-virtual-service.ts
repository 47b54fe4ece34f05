import type { RetrySpec } from './istio-retry.ts';
import type { Resource } from './resource.ts';

/** The shapes of `networking.istio.io` VirtualService that its field table has checked. */
export interface VirtualServiceBody {
  readonly spec: VirtualServiceSpec;
}

export interface VirtualServiceSpec {
  /** Absent or empty: a delegate, which acts through the VirtualServices that name it. */
  readonly hosts?: readonly string[];
  readonly gateways?: readonly string[];
  readonly http?: readonly HttpRouteSpec[];
  readonly tls?: readonly TlsRouteSpec[];
  readonly tcp?: readonly TcpRouteSpec[];
  readonly exportTo?: readonly string[];
}

export interface StringMatchSpec {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
}

export interface DestinationSpec {
  readonly host: string;
  readonly subset?: string;
  readonly port?: { readonly number: number };
}

export interface PercentSpec {
  readonly value?: number;
}

export interface HeaderEditSpec {
  readonly set?: Readonly<Record<string, string>>;
  readonly add?: Readonly<Record<string, string>>;
  readonly remove?: readonly string[];
}

export interface HeadersSpec {
  readonly request?: HeaderEditSpec;
  readonly response?: HeaderEditSpec;
}

/** What conditions on the caller all kinds of rules have. */
export interface CallerMatchSpec {
  readonly port?: number;
  readonly gateways?: readonly string[];
  readonly sourceLabels?: Readonly<Record<string, string>>;
  readonly sourceNamespace?: string;
}

export interface HttpMatchSpec extends CallerMatchSpec {
  readonly name?: string;
  readonly uri?: StringMatchSpec;
  readonly ignoreUriCase?: boolean;
  readonly scheme?: StringMatchSpec;
  readonly method?: StringMatchSpec;
  readonly authority?: StringMatchSpec;
  readonly headers?: Readonly<Record<string, StringMatchSpec>>;
  readonly withoutHeaders?: Readonly<Record<string, StringMatchSpec>>;
  readonly queryParams?: Readonly<Record<string, StringMatchSpec>>;
  readonly statPrefix?: string;
}

export interface HttpDestinationSpec {
  readonly destination: DestinationSpec;
  readonly weight?: number;
  readonly headers?: HeadersSpec;
}

export interface RegexRewriteSpec {
  readonly match?: string;
  readonly rewrite?: string;
}

export interface RewriteSpec {
  readonly uri?: string;
  readonly authority?: string;
  readonly uriRegexRewrite?: RegexRewriteSpec;
}

export interface RedirectSpec {
  readonly uri?: string;
  readonly prefixRewrite?: string;
  readonly authority?: string;
  readonly port?: number;
  readonly derivePort?: 'FROM_PROTOCOL_DEFAULT' | 'FROM_REQUEST_PORT';
  readonly scheme?: string;
  readonly redirectCode?: number;
}

export interface DirectResponseSpec {
  readonly status: number;
  readonly body?: { readonly string?: string; readonly bytes?: string };
}

export interface FaultSpec {
  readonly delay?: {
    readonly fixedDelay?: string;
    readonly exponentialDelay?: string;
    readonly percentage?: PercentSpec;
    readonly percent?: number;
  };
  readonly abort?: {
    readonly httpStatus?: number;
    readonly grpcStatus?: string;
    readonly http2Error?: string;
    readonly percentage?: PercentSpec;
  };
}

export interface CorsPolicySpec {
  readonly allowOrigin?: readonly string[];
  readonly allowOrigins?: readonly StringMatchSpec[];
  readonly allowMethods?: readonly string[];
  readonly allowHeaders?: readonly string[];
  readonly exposeHeaders?: readonly string[];
  readonly maxAge?: string;
  readonly allowCredentials?: boolean;
  readonly unmatchedPreflights?: 'UNSPECIFIED' | 'FORWARD' | 'IGNORE';
}

export interface MirrorSpec {
  readonly destination: DestinationSpec;
  readonly percentage?: PercentSpec;
}

export interface HttpRouteSpec {
  readonly name?: string;
  readonly match?: readonly HttpMatchSpec[];
  readonly route?: readonly HttpDestinationSpec[];
  readonly redirect?: RedirectSpec;
  readonly directResponse?: DirectResponseSpec;
  readonly delegate?: { readonly name?: string; readonly namespace?: string };
  readonly rewrite?: RewriteSpec;
  readonly timeout?: string;
  readonly retries?: RetrySpec;
  readonly fault?: FaultSpec;
  readonly mirror?: DestinationSpec;
  readonly mirrors?: readonly MirrorSpec[];
  readonly mirrorPercentage?: PercentSpec;
  readonly mirrorPercent?: number;
  readonly mirror_percent?: number;
  readonly corsPolicy?: CorsPolicySpec;
  readonly headers?: HeadersSpec;
}

export interface RouteDestinationSpec {
  readonly destination: DestinationSpec;
  readonly weight?: number;
}

export interface TcpMatchSpec extends CallerMatchSpec {
  readonly destinationSubnets?: readonly string[];
}

export interface TcpRouteSpec {
  readonly match?: readonly TcpMatchSpec[];
  readonly route?: readonly RouteDestinationSpec[];
}

export interface TlsMatchSpec extends TcpMatchSpec {
  readonly sniHosts: readonly string[];
}

export interface TlsRouteSpec {
  readonly match: readonly TlsMatchSpec[];
  readonly route?: readonly RouteDestinationSpec[];
}

export type VirtualService = Resource<VirtualServiceBody>;

/** Stands for the callers inside the mesh among the `gateways`. */
export const meshGateway = 'mesh';

/** Is it for callers inside the mesh, and not only for gateways? */
export function isForMesh(resource: VirtualService): boolean {
  const { gateways } = resource.body.spec;
  return gateways === undefined || gateways.length === 0 || gateways.includes(meshGateway);
}

/** A VirtualService without hosts: others use its rules (Istio `delegate`). */
export function isDelegate(resource: VirtualService): boolean {
  return (resource.body.spec.hosts ?? []).length === 0;
}

/** Conditions on the caller that decide without a request whether a rule applies. */
export interface CallerContext {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Port that the caller uses. */
  readonly port: number;
}
