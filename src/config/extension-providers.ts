import { isIP } from 'node:net';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { CheckedBody, ExternalAuthorizer } from '../model/external-authorizer.ts';
import type { VirtualHost } from '../model/route.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { schemeOf } from './go-url.ts';
import { canonicalHost, isFqdn, isLabel } from './host-syntax.ts';
import type { Resource } from './resource.ts';
import type { MeshService } from './service.ts';
import { durationMs } from './values.ts';

interface CommonSpec {
  readonly service: string;
  readonly port: number;
  readonly timeout?: string;
  readonly failOpen?: boolean;
  readonly statusOnError?: string;
  readonly includeRequestBodyInCheck?: {
    readonly maxRequestBytes: number;
    readonly allowPartialMessage?: boolean;
    readonly packAsBytes?: boolean;
  };
}

interface HttpSpec extends CommonSpec {
  readonly pathPrefix?: string;
  readonly includeHeadersInCheck?: readonly string[];
  readonly includeRequestHeadersInCheck?: readonly string[];
  readonly includeAdditionalHeadersInCheck?: Readonly<Record<string, string>>;
  readonly headersToUpstreamOnAllow?: readonly string[];
  readonly headersToDownstreamOnAllow?: readonly string[];
  readonly headersToDownstreamOnDeny?: readonly string[];
}

/** One of MeshConfig's `extensionProviders`. */
export interface ExtensionProviderSpec {
  readonly name: string;
  readonly envoyExtAuthzHttp?: HttpSpec;
  readonly envoyExtAuthzGrpc?: CommonSpec;
}

/** An authorizer whose service was not looked for yet. */
export interface NamedAuthorizer extends Omit<ExternalAuthorizer, 'service'> {
  /** As it is written. */
  readonly service: string;
  readonly port: number;
}

/** Istio's: what it takes for no timeout. */
const defaultTimeoutMs = 600_000;
const defaultStatusOnError = 403;

/** Envoy's `StatusCode`, without those that are no answer. */
const statuses: ReadonlySet<number> = new Set([
  ...[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417],
  ...[421, 422, 423, 424, 426, 428, 429, 431, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511],
]);

/** Those of the providers that authorize, checked as Istio does before it takes a MeshConfig. */
export function compileExtensionProviders(
  resource: Resource,
  providers: readonly ExtensionProviderSpec[] = [],
  base: Path,
  collector: Collector,
): readonly NamedAuthorizer[] {
  const seen = new Set<string>();
  return providers.flatMap((provider, index) => {
    const { envoyExtAuthzGrpc: grpc, envoyExtAuthzHttp: http, name } = provider;
    const path = [...base, index];
    if (seen.has(name)) collector.problem(resource, [...path, 'name'], 'is there twice', name);
    seen.add(name);
    const spec = http ?? grpc;
    if (spec === undefined) return [];
    const at = [...path, http === undefined ? 'envoyExtAuthzGrpc' : 'envoyExtAuthzHttp'];
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
      collector.problem(resource, [...path, 'name'], 'must be small letters, digits and -, at most 63', name);
    }
    checkService(spec.service, resource, [...at, 'service'], collector);
    const { includeRequestBodyInCheck: body, port, service } = spec;
    const checkedBody: CheckedBody | undefined = body && {
      maxBytes: body.maxRequestBytes,
      allowPartial: body.allowPartialMessage ?? false,
      asBytes: body.packAsBytes ?? false,
    };
    const authorizer: NamedAuthorizer = {
      name,
      service,
      port,
      timeoutMs: durationMs(spec.timeout) ?? defaultTimeoutMs,
      failOpen: spec.failOpen ?? false,
      statusOnError: statusOf(spec.statusOnError, resource, [...at, 'statusOnError'], collector),
      ...(checkedBody === undefined ? {} : { body: checkedBody }),
      protocol: http === undefined ? { kind: 'grpc' } : httpOf(http, resource, at, collector),
      provenance: collector.at(resource, path),
    };
    return [authorizer];
  });
}

function httpOf(
  spec: HttpSpec,
  resource: Resource,
  path: Path,
  collector: Collector,
): Extract<ExternalAuthorizer['protocol'], { kind: 'http' }> {
  const { pathPrefix = '' } = spec;
  if (pathPrefix !== '' && (!pathPrefix.startsWith('/') || schemeOf(pathPrefix) === undefined)) {
    collector.problem(resource, [...path, 'pathPrefix'], 'must be a path that begins with /', pathPrefix);
  }
  const names = (field: keyof HttpSpec & `${string}s${string}`): readonly StringMatch[] =>
    ((spec[field] ?? []) as readonly string[]).map((text, index) =>
      nameMatch(text, resource, [...path, field, index], collector),
    );
  const listed = names('includeRequestHeadersInCheck');
  const deprecated = names('includeHeadersInCheck');
  const added = Object.entries(spec.includeAdditionalHeadersInCheck ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of added) {
    const at = [...path, 'includeAdditionalHeadersInCheck', name];
    if (!/^[-!#$%&'*+.^_`|~A-Za-z0-9]+$/.test(name))
      collector.problem(resource, at, 'must be the name of a header', name);
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) collector.problem(resource, at, 'must be the value of a header', value);
    // Envoy would put something else in its place.
    if (/%[A-Z_]+(\(|%)/.test(value))
      collector.refuse(resource, at, 'is refused: format commands are not known here', value);
  }
  return {
    kind: 'http',
    pathPrefix,
    requestHeaders: listed.length > 0 ? listed : deprecated,
    addedHeaders: added,
    toUpstreamOnAllow: names('headersToUpstreamOnAllow'),
    toDownstreamOnAllow: names('headersToDownstreamOnAllow'),
    toDownstreamOnDeny: names('headersToDownstreamOnDeny'),
  };
}

/** Istio's `generateHeaders`: what begins with `*` is a suffix, what ends with it a prefix. */
function nameMatch(text: string, resource: Resource, path: Path, collector: Collector): StringMatch {
  if (text === '*') {
    // Istio makes a provider of this that refuses everything.
    collector.problem(
      resource,
      path,
      'must be a name, `abc*` or `*abc`: a single * is not supported, as in Istio',
      text,
    );
  }
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1).toLowerCase() };
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1).toLowerCase() };
  return { kind: 'exact', value: text.toLowerCase() };
}

function statusOf(text: string | undefined, resource: Resource, path: Path, collector: Collector): number {
  if (text === undefined || text === '') return defaultStatusOnError;
  const status = /^[0-9]{3}$/.test(text) ? Number(text) : 0;
  if (statuses.has(status)) return status;
  collector.problem(resource, path, 'must be a status of HTTP that Envoy knows, such as "503"', text);
  return defaultStatusOnError;
}

/** Istio's `validateExtensionProviderService`. */
export function checkService(service: string, resource: Resource, path: Path, collector: Collector): void {
  const parts = service.split('/');
  const host = parts.at(-1) ?? '';
  const named = parts.length === 2 ? isLabel(parts[0] ?? '') && isFqdn(host) : isFqdn(host) || isIP(host) !== 0;
  if (parts.length > 2 || !named) {
    collector.problem(resource, path, 'must be the host of a service, or <namespace>/<host>', service);
  }
}

/** What says which services there are, and by which names this process calls them. */
export interface Callable {
  readonly services: readonly MeshService[];
  readonly hosts: ReadonlyMap<string, VirtualHost>;
}

/**
 * The authorizers that policies for this workload name. One whose service is not to be had is without
 * one: whatever it would be asked about is refused, as in Istio. So is all that is asked about where
 * policies name several.
 */
export function authorizersFor(
  policies: readonly AuthorizationPolicy[],
  known: readonly NamedAuthorizer[],
  callable: Callable,
  warn: (policy: AuthorizationPolicy, note: string) => void,
): readonly ExternalAuthorizer[] {
  const asking = policies.filter(({ action, dryRun }) => action === 'CUSTOM' && dryRun !== true);
  const names = new Set(asking.map(({ provider = '' }) => provider));
  const found = [...names].sort().flatMap((name) => known.filter((each) => each.name === name));
  const authorizers = found.map(({ port, service, ...authorizer }): ExternalAuthorizer => {
    return { ...authorizer, service: addressOf(service, port, callable) };
  });
  for (const policy of asking) {
    const authorizer = authorizers.find(({ name }) => name === policy.provider);
    const refused = 'every request that this policy is for is refused';
    if (names.size > 1) {
      warn(
        policy,
        `policies for this workload name ${[...names].sort().join(' and ')}; as in Istio they may name one: ${refused}`,
      );
    } else if (authorizer === undefined) {
      warn(policy, `MeshConfig has no extension provider ${policy.provider} that authorizes: ${refused}`);
    } else if (authorizer.service === undefined) {
      warn(policy, `the service of ${policy.provider} is not one that this process can call: ${refused}`);
    }
  }
  return authorizers;
}

/** Istio's `LookupCluster`: without a namespace there must be one service of this name only. */
function addressOf(service: string, port: number, { hosts, services }: Callable): string | undefined {
  const slash = service.indexOf('/');
  const namespace = slash === -1 ? undefined : service.slice(0, slash);
  const host = canonicalHost(service.slice(slash + 1));
  const named = services.filter((each) => each.host === host);
  const namespaces = new Set(named.map((each) => each.namespace));
  if (namespace === undefined ? namespaces.size !== 1 : !namespaces.has(namespace)) return undefined;
  const name = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  return hosts.has(name) ? name : undefined;
}
