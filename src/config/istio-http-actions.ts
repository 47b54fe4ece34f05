import { grpcStatusNumber } from '../lib/grpc-status.ts';
import type {
  CorsPolicy,
  DirectResponse,
  Fault,
  Mirror,
  Redirect,
  RegexRewrite,
  Rewrite,
  WeightedDestination,
} from '../model/route.ts';
import type { FaultExtensions } from './inmesh-annotations.ts';
import { compileHeaders } from './istio-headers.ts';
import { compileStringMatch } from './istio-http-match.ts';
import type {
  CorsPolicySpec,
  DestinationSpec,
  DirectResponseSpec,
  FaultSpec,
  HttpDestinationSpec,
  HttpRouteSpec,
  PercentSpec,
  RedirectSpec,
  RewriteSpec,
} from './istio-virtual-service.ts';
import { durationMs } from './values.ts';

/** Name of the cluster for a destination; always one, even when no such cluster exists. */
export type ClusterOf = (destination: DestinationSpec) => string;

/** `ownAuthority`: the route has no authority of its own, which would go before those of the destinations. */
export function compileDestinations(
  given: readonly HttpDestinationSpec[],
  clusterOf: ClusterOf,
  ownAuthority: boolean,
): readonly WeightedDestination[] {
  const [first] = given;
  // The headers of an only destination are those of the route: see `mergeEdits`.
  if (given.length === 1 && first !== undefined) {
    return [{ cluster: clusterOf(first.destination), weight: Math.max(1, first.weight ?? 0) }];
  }
  return given.flatMap(({ destination, weight = 0, headers }) => {
    // Alone it would get everything; beside others a weight of 0 means that it gets nothing.
    if (weight === 0) return [];
    const cluster = clusterOf(destination);
    const { edits, authority } = compileHeaders(headers);
    const host = authority === undefined || !ownAuthority ? [] : [{ name: 'host', value: authority }];
    const { request } = edits ?? {};
    const all =
      host.length === 0
        ? edits
        : { ...edits, request: { add: [], remove: [], ...request, set: [...host, ...(request?.set ?? [])] } };
    return [{ cluster, weight, ...(all === undefined ? {} : { headers: all }) }];
  });
}

/** `authority` is that of the header edits; the one of `rewrite` goes before it. */
export function compileRewrite(spec: RewriteSpec = {}, authority?: string): Rewrite | undefined {
  const { uri = '', uriRegexRewrite } = spec;
  const host = spec.authority === undefined || spec.authority === '' ? authority : spec.authority;
  const pathRegex = compileRegexRewrite(uriRegexRewrite);
  const rewrite = {
    ...(uri === '' || pathRegex !== undefined ? {} : { pathPrefix: uri }),
    ...(pathRegex === undefined ? {} : { pathRegex }),
    ...(host === undefined ? {} : { authority: host }),
  };
  return Object.keys(rewrite).length === 0 ? undefined : rewrite;
}

function compileRegexRewrite(spec: RewriteSpec['uriRegexRewrite']): RegexRewrite | undefined {
  return spec === undefined ? undefined : { pattern: spec.match ?? '', substitution: spec.rewrite ?? '' };
}

/** Codes that Envoy redirects with. */
export const redirectCodes: readonly number[] = [301, 302, 303, 307, 308];

/**
 * What sidecars make of a redirect on a port: `FROM_REQUEST_PORT` is that port, the default port of the scheme is
 * left out, and `FROM_PROTOCOL_DEFAULT` is what happens without a port.
 */
export function compileRedirect(spec: RedirectSpec, requestPort: number): Redirect {
  const { uri = '', prefixRewrite = '', authority = '', scheme = '', redirectCode = 0 } = spec;
  const port = spec.derivePort === 'FROM_REQUEST_PORT' ? requestPort : (spec.port ?? 0);
  const isDefault = port === (scheme === 'https' ? 443 : 80);
  const value = prefixRewrite === '' ? uri : prefixRewrite;
  return {
    status: redirectCode === 0 ? 301 : redirectCode,
    ...(scheme === '' ? {} : { scheme }),
    ...(authority === '' ? {} : { authority }),
    ...(port === 0 || isDefault ? {} : { port }),
    ...(value === '' ? {} : { path: { value, prefix: prefixRewrite !== '' } }),
  };
}

export function compileDirectResponse({ status, body }: DirectResponseSpec): DirectResponse {
  const content = body?.bytes === undefined ? body?.string : Uint8Array.from(Buffer.from(body.bytes, 'base64'));
  return {
    // Istio lets 600 pass, which is no status of HTTP and which Envoy refuses.
    status: status > 599 ? 500 : status,
    ...(content === undefined || content.length === 0 ? {} : { body: content }),
  };
}

/** Without a percentage nothing is delayed or aborted, in Istio as in Envoy. */
export function compileFault(spec: FaultSpec, extensions: FaultExtensions): Fault | undefined {
  const { delay, abort } = spec;
  const delayPercent = delay?.percentage === undefined ? (delay?.percent ?? 0) : percentOf(delay.percentage);
  const abortPercent = abort?.percentage === undefined ? 0 : percentOf(abort.percentage);
  const delayMs = durationMs(delay?.fixedDelay) ?? 0;
  const status = abort === undefined ? undefined : abortStatus(abort);
  const fault = {
    ...(delayMs > 0 && delayPercent > 0 ? { delay: { delayMs, percent: delayPercent } } : {}),
    ...(status !== undefined && abortPercent > 0 ? { abort: { ...status, percent: abortPercent } } : {}),
  };
  if (Object.keys(fault).length === 0 && extensions.byHeaders === undefined) return undefined;
  return { ...fault, ...extensions };
}

function abortStatus(abort: NonNullable<FaultSpec['abort']>): { status: number; grpcStatus?: number } | undefined {
  if (abort.httpStatus !== undefined) return { status: Math.min(abort.httpStatus, 599) };
  const grpcStatus = abort.grpcStatus === undefined ? undefined : grpcStatusNumber(abort.grpcStatus);
  // Requests that are not gRPC get Envoy's 200.
  return grpcStatus === undefined ? undefined : { status: 200, grpcStatus };
}

/** Envoy counts in millionths. */
function percentOf({ value = 0 }: PercentSpec): number {
  return Math.trunc(value * 10_000) / 10_000;
}

/** Mirrors with a percentage of 0 are none; without a percentage it is 100. */
export function compileMirrors(spec: HttpRouteSpec, clusterOf: ClusterOf): readonly Mirror[] {
  const old = spec.mirrorPercent ?? spec.mirror_percent;
  const single = spec.mirrorPercentage === undefined ? (old ?? 100) : percentOf(spec.mirrorPercentage);
  const all = [
    ...(spec.mirror === undefined ? [] : [{ destination: spec.mirror, percent: single }]),
    ...(spec.mirrors ?? []).map(({ destination, percentage }) => ({
      destination,
      percent: percentage === undefined ? 100 : percentOf(percentage),
    })),
  ];
  return all
    .filter(({ percent }) => percent > 0)
    .map(({ destination, percent }) => ({ cluster: clusterOf(destination), percent }));
}

export function compileCors(spec: CorsPolicySpec): CorsPolicy {
  const { allowOrigins = spec.allowOrigin?.map((exact) => ({ exact })) ?? [] } = spec;
  const maxAgeMs = durationMs(spec.maxAge);
  return {
    allowOrigins: allowOrigins.map(compileStringMatch),
    allowMethods: spec.allowMethods ?? [],
    allowHeaders: spec.allowHeaders ?? [],
    exposeHeaders: spec.exposeHeaders ?? [],
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    ...(spec.allowCredentials === undefined ? {} : { allowCredentials: spec.allowCredentials }),
    forwardUnmatchedPreflights: spec.unmatchedPreflights !== 'IGNORE',
  };
}
