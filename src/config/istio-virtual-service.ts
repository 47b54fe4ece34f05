import { MeshError } from '../errors.ts';
import { compileRegex } from '../lib/regex.ts';
import type { HeaderMatch, Rewrite, Route, RouteMatch, WeightedDestination } from '../model/route.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { otherAction } from './fields-virtual-service.ts';
import { compileRetry, type RetrySpec } from './istio-retry.ts';
import type { Resource } from './resource.ts';
import { durationMs, isIpAddress, isWildcardHostName, selects } from './values.ts';

export interface StringMatchSpec {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
}

export interface DestinationSpec {
  readonly host: string;
  readonly subset?: string;
  readonly port?: { readonly number?: number };
}

export interface HttpMatchSpec {
  readonly uri?: StringMatchSpec;
  readonly ignoreUriCase?: boolean;
  readonly headers?: Readonly<Record<string, StringMatchSpec>>;
  readonly port?: number;
  readonly gateways?: readonly string[];
  readonly sourceLabels?: Readonly<Record<string, string>>;
  readonly sourceNamespace?: string;
}

export interface HttpRouteSpec {
  readonly name?: string;
  readonly match?: readonly HttpMatchSpec[];
  readonly route?: readonly { readonly destination: DestinationSpec; readonly weight?: number }[];
  readonly timeout?: string;
  readonly retries?: RetrySpec;
  readonly rewrite?: { readonly uri?: string; readonly authority?: string };
}

export interface VirtualServiceBody {
  readonly spec: {
    readonly hosts?: readonly string[];
    readonly gateways?: readonly string[];
    readonly http?: readonly HttpRouteSpec[];
    readonly exportTo?: readonly string[];
  };
}

const meshGateway = 'mesh';
/** Conditions that cannot be evaluated yet: a match that has one never matches. */
const unknownConditions = ['scheme', 'method', 'authority', 'queryParams', 'withoutHeaders'] as const;
/** Actions that cannot be carried out yet. */
const unknownActions = ['redirect', 'directResponse', 'delegate'] as const;

/** Is it for callers inside the mesh, and not only for gateways? */
export function isForMesh(resource: Resource<VirtualServiceBody>): boolean {
  const { gateways } = resource.body.spec;
  return gateways === undefined || gateways.length === 0 || gateways.includes(meshGateway);
}

/** Checks what a field table cannot say, once per resource. */
export function checkVirtualService(resource: Resource<VirtualServiceBody>, collector: Collector): void {
  const { hosts = [], http = [] } = resource.body.spec;
  const forMesh = isForMesh(resource);
  const seen = new Set<string>();
  hosts.forEach((host, index) => {
    const path = ['spec', 'hosts', index];
    if (host === '*' && forMesh) {
      collector.problem(resource, path, 'must not be * in the mesh: it would take over every host', host);
    } else if (host !== '*' && !isWildcardHostName(host) && !isIpAddress(host)) {
      collector.problem(resource, path, 'must be a host name, *.<domain> or an IP address', host);
    }
    if (seen.has(host)) collector.problem(resource, path, 'is there twice', host);
    seen.add(host);
  });
  if (!forMesh) {
    collector.retract(resource);
    collector.warn(resource, ['spec', 'gateways'], 'ignored', 'is for gateways only: `mesh` is not among them');
  }
  http.forEach((route, index) => void checkRoute(resource, route, ['spec', 'http', index], forMesh, collector));
}

function checkRoute(
  resource: Resource,
  route: HttpRouteSpec,
  path: Path,
  forMesh: boolean,
  collector: Collector,
): void {
  const actions = unknownActions.filter((name) => Object.hasOwn(route, name));
  for (const name of forMesh ? actions : []) {
    collector.problem(resource, [...path, name], `is refused: ${otherAction}`);
  }
  const destinations = route.route ?? [];
  if (destinations.length === 0 && actions.length === 0)
    collector.problem(resource, path, 'needs a route with a destination');
  let total = 0;
  destinations.forEach(({ destination, weight = 0 }, index) => {
    total += weight;
    const host = [...path, 'route', index, 'destination', 'host'];
    if (!isWildcardHostName(destination.host) && !isIpAddress(destination.host)) {
      collector.problem(resource, host, 'must be a host name', destination.host);
    }
  });
  if (destinations.length > 1 && total === 0) {
    collector.problem(resource, [...path, 'route'], 'needs weights whose sum is more than 0');
  }
  // Envoy keeps the sum in 32 bits.
  if (total > 4_294_967_295)
    collector.problem(resource, [...path, 'route'], 'has weights whose sum is too large', total);
  compileRetry(resource, route.retries, [...path, 'retries'], collector);
  route.match?.forEach((match, index) => void checkMatch(resource, match, [...path, 'match', index], collector));
}

function checkMatch(resource: Resource, match: HttpMatchSpec, path: Path, collector: Collector): void {
  const checkRegex = (spec: StringMatchSpec | undefined, at: Path): void => {
    if (spec?.regex === undefined) return;
    try {
      compileRegex(spec.regex);
    } catch (error) {
      const reason = error instanceof MeshError ? error.message : String(error);
      collector.problem(resource, [...at, 'regex'], reason, spec.regex);
    }
  };
  checkRegex(match.uri, [...path, 'uri']);
  for (const [name, spec] of Object.entries(match.headers ?? {})) {
    const at = [...path, 'headers', name];
    // Of a header the text `*` means that it is there.
    if (spec.regex !== '*') checkRegex(spec, at);
    if (name.startsWith('@request.auth.')) {
      collector.warn(resource, at, 'ignored', 'claims are matched at gateways only; the whole match entry is left out');
    } else if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      collector.problem(resource, at, 'must be the name of a header', name);
    }
  }
}

/** What a route needs to know of the world around it. */
export interface RouteContext {
  readonly workload: Workload;
  /** Port that the caller uses. */
  readonly port: number;
  /** Cluster name for a destination; always one, even when the cluster does not exist. */
  clusterOf(destination: DestinationSpec, path: Path): string;
}

/** The routes for one port, in order. Routes that cannot apply to this workload or port are left out. */
export function compileHttpRoutes(
  resource: Resource<VirtualServiceBody>,
  context: RouteContext,
  collector: Collector,
): readonly Route[] {
  return (resource.body.spec.http ?? []).flatMap((spec, index) => {
    const path = ['spec', 'http', index];
    const applying = (spec.match ?? []).filter((match) => mayApply(match, context));
    if (spec.match !== undefined && spec.match.length > 0 && applying.length === 0) return [];
    const rewrite = compileRewrite(spec.rewrite);
    const retry = compileRetry(resource, spec.retries, [...path, 'retries'], collector);
    const timeoutMs = durationMs(spec.timeout);
    return [
      {
        name: spec.name ?? `${resource.name}#${index}`,
        matches: compileMatches(applying, rewrite),
        destinations: compileDestinations(spec, path, context),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(retry === undefined ? {} : { retry }),
        ...(rewrite === undefined ? {} : { rewrite }),
        provenance: collector.at(resource, path),
      },
    ];
  });
}

/** Conditions on the caller and the port are decided here, once, and not for each request. */
function mayApply(match: HttpMatchSpec, { workload, port }: RouteContext): boolean {
  if (unknownConditions.some((name) => Object.hasOwn(match, name))) return false;
  if (Object.keys(match.headers ?? {}).some((name) => name.startsWith('@'))) return false;
  if (match.port !== undefined && match.port !== port) return false;
  // As in Istio: where a match names gateways, these decide and the conditions on the caller do not.
  if (match.gateways !== undefined && match.gateways.length > 0) return match.gateways.includes(meshGateway);
  return (
    (match.sourceNamespace === undefined || match.sourceNamespace === workload.namespace) &&
    selects(match.sourceLabels ?? {}, workload.labels)
  );
}

function compileMatches(matches: readonly HttpMatchSpec[], rewrite: Rewrite | undefined): readonly RouteMatch[] {
  const compiled = matches.map((match) => compileMatch(match));
  // One entry without conditions matches everything, whatever the others say.
  const everything = compiled.some((match) => Object.keys(match).length === 0);
  const result = everything ? [] : compiled;
  if (rewrite?.pathPrefix === undefined) return result;
  // Envoy's match for "any path" is the prefix `/`, and that is what a rewrite then replaces.
  const anyPath: StringMatch = { kind: 'prefix', value: '/' };
  return result.length === 0 ? [{ path: anyPath }] : result.map((match) => ({ path: anyPath, ...match }));
}

function compileMatch(match: HttpMatchSpec): RouteMatch {
  const path = compileUri(match.uri);
  const headers = Object.entries(match.headers ?? {}).map(([name, spec]): HeaderMatch => {
    return { name: name.toLowerCase(), match: compileStringMatchSpec(spec) };
  });
  const ignoreCase = match.ignoreUriCase === true && path !== undefined && path.kind !== 'regex';
  return {
    ...(path === undefined ? {} : { path }),
    ...(ignoreCase ? { pathIgnoreCase: true } : {}),
    ...(headers.length === 0 ? {} : { headers }),
  };
}

function compileUri(spec: StringMatchSpec = {}): StringMatch | undefined {
  const match = compileStringMatchSpec(spec);
  return match.kind === 'present' || (match.kind === 'prefix' && match.value === '') ? undefined : match;
}

/** Istio `StringMatch`; empty, or the regular expression `*`, means that anything will do. */
function compileStringMatchSpec(spec: StringMatchSpec): StringMatch {
  if (spec.exact !== undefined) return { kind: 'exact', value: spec.exact };
  if (spec.prefix !== undefined) return { kind: 'prefix', value: spec.prefix };
  if (spec.regex !== undefined && spec.regex !== '*') return { kind: 'regex', value: spec.regex };
  return { kind: 'present' };
}

function compileRewrite(spec: HttpRouteSpec['rewrite']): Rewrite | undefined {
  const { uri = '', authority = '' } = spec ?? {};
  if (uri === '' && authority === '') return undefined;
  return { ...(uri === '' ? {} : { pathPrefix: uri }), ...(authority === '' ? {} : { authority }) };
}

function compileDestinations(spec: HttpRouteSpec, path: Path, context: RouteContext): readonly WeightedDestination[] {
  const given = spec.route ?? [];
  return given.flatMap(({ destination, weight = 0 }, index) => {
    const cluster = context.clusterOf(destination, [...path, 'route', index, 'destination']);
    // Alone it gets everything; beside others a weight of 0 means that it gets nothing.
    if (given.length === 1) return [{ cluster, weight: Math.max(1, weight) }];
    return weight === 0 ? [] : [{ cluster, weight }];
  });
}
