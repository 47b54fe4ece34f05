import type { HeaderMatch, QueryMatch, RouteMatch } from '../model/route.ts';
import type { StringMatch } from '../model/string-match.ts';
import { baggageMember } from './inmesh-annotations.ts';
import {
  type CallerContext,
  type CallerMatchSpec,
  type HttpMatchSpec,
  meshGateway,
  type StringMatchSpec,
} from './istio-virtual-service.ts';
import { selects } from './values.ts';

/**
 * Why a match entry of an `http` rule can never hold for this caller and port; nothing when it can. Decided once,
 * and not for each request. As in Istio: where an entry names gateways, these decide and the conditions on the
 * caller do not.
 */
export function whyNeverHttp(match: HttpMatchSpec, caller: CallerContext): string | undefined {
  const claim = [...Object.keys(match.headers ?? {}), ...Object.keys(match.withoutHeaders ?? {})].find(isClaimHeader);
  if (claim !== undefined) return `${claim} is matched at gateways only`;
  const port = whyNotPort(match, caller);
  if (port !== undefined) return port;
  if ((match.gateways ?? []).length > 0) return whyNotGateways(match);
  return whyNotCaller(match, caller);
}

/** The same for entries of `tcp` and `tls` rules, where every condition counts. */
export function whyNeverConnection(match: CallerMatchSpec, caller: CallerContext): string | undefined {
  return whyNotGateways(match) ?? whyNotPort(match, caller) ?? whyNotCaller(match, caller);
}

function whyNotPort({ port = 0 }: CallerMatchSpec, caller: CallerContext): string | undefined {
  return port === 0 || port === caller.port ? undefined : `port is ${port}, and this is port ${caller.port}`;
}

function whyNotGateways({ gateways = [] }: CallerMatchSpec): string | undefined {
  if (gateways.length === 0 || gateways.includes(meshGateway)) return undefined;
  return `gateways are ${gateways.join(', ')}, and not mesh`;
}

function whyNotCaller(match: CallerMatchSpec, { namespace, labels }: CallerContext): string | undefined {
  const { sourceNamespace = '', sourceLabels = {} } = match;
  if (!selects(sourceLabels, labels)) {
    const wanted = Object.entries(sourceLabels).map(([key, value]) => `${key}=${value}`);
    return `sourceLabels ${wanted.join(', ')} are not those of this workload`;
  }
  if (sourceNamespace === '' || sourceNamespace === namespace) return undefined;
  return `sourceNamespace is ${sourceNamespace}, and this is ${namespace}`;
}

/** `@request.auth.claims.sub` or `@request.auth.claims[sub]`, in any case. */
export function isClaimHeader(name: string): boolean {
  return /^@request\.auth\.claims(\..+|\[.+\])$/is.test(name);
}

/** The conditions of a match entry; those on the caller have been decided before. */
export function compileHttpMatch(match: HttpMatchSpec, index: number): RouteMatch {
  const path = compileUri(match.uri);
  const { pseudo, headers, baggage } = compileHeaders(match);
  const withoutHeaders = Object.entries(match.withoutHeaders ?? {}).map(([name, spec]) => headerMatch(name, spec));
  const queryParams = Object.entries(match.queryParams ?? {}).map(
    ([name, spec]): QueryMatch => ({ name, match: compileStringMatch(spec) }),
  );
  // Envoy ignores the case option for regular expressions.
  const ignoreCase = match.ignoreUriCase === true && path !== undefined && path.kind !== 'regex';
  return {
    index,
    ...(match.name === undefined || match.name === '' ? {} : { name: match.name }),
    ...(path === undefined ? {} : { path }),
    ...(ignoreCase ? { pathIgnoreCase: true } : {}),
    ...pseudo,
    ...(headers.length === 0 ? {} : { headers }),
    ...(withoutHeaders.length === 0 ? {} : { withoutHeaders }),
    ...(queryParams.length === 0 ? {} : { queryParams }),
    ...(baggage.length === 0 ? {} : { baggage }),
    ...(match.statPrefix === undefined || match.statPrefix === '' ? {} : { statPrefix: match.statPrefix }),
  };
}

/** Conditions that are left of an entry, apart from what is only for people. */
export function isCatchAll(match: RouteMatch): boolean {
  const { index: _, name: _name, statPrefix: _statPrefix, path, pathIgnoreCase: _case, ...others } = match;
  if (Object.keys(others).length > 0) return false;
  return path === undefined || (path.kind === 'prefix' && path.value === '/') || isAnything(path);
}

function isAnything(path: StringMatch): boolean {
  return path.kind === 'regex' && path.value === '.*';
}

type Pseudo = Pick<RouteMatch, 'scheme' | 'method' | 'authority'>;

/** `headers` may name HTTP/2 pseudo headers; Envoy knows `host` as `:authority`. */
function compileHeaders(match: HttpMatchSpec): {
  readonly pseudo: Pseudo;
  readonly headers: readonly HeaderMatch[];
  readonly baggage: readonly HeaderMatch[];
} {
  const pseudo: { -readonly [Key in keyof Pseudo]: Pseudo[Key] } = {};
  for (const name of ['scheme', 'method', 'authority'] as const) {
    const spec = match[name];
    // Every request has them, so that an empty condition holds always.
    if (spec !== undefined && !isPresence(spec)) pseudo[name] = compileStringMatch(spec);
  }
  const headers: HeaderMatch[] = [];
  const baggage: HeaderMatch[] = [];
  for (const [name, spec] of Object.entries(match.headers ?? {})) {
    const member = baggageMember(name);
    const field = pseudoFields.get(name.toLowerCase());
    if (member !== undefined) baggage.push({ name: member, match: compileStringMatch(spec) });
    else if (field === undefined) headers.push(headerMatch(name, spec));
    else if (!isPresence(spec)) {
      if (pseudo[field] === undefined) pseudo[field] = compileStringMatch(spec);
      else headers.push(headerMatch(name, spec));
    }
  }
  return { pseudo, headers, baggage };
}

const pseudoFields: ReadonlyMap<string, keyof Pseudo> = new Map([
  [':scheme', 'scheme'],
  [':method', 'method'],
  [':authority', 'authority'],
  ['host', 'authority'],
]);

function headerMatch(name: string, spec: StringMatchSpec): HeaderMatch {
  return { name: name.toLowerCase(), match: compileStringMatch(spec) };
}

function compileUri(spec: StringMatchSpec = {}): StringMatch | undefined {
  const match = compileStringMatch(spec);
  return match.kind === 'present' || (match.kind === 'prefix' && match.value === '') ? undefined : match;
}

function isPresence({ exact, prefix, regex }: StringMatchSpec): boolean {
  return exact === undefined && prefix === undefined && (regex === undefined || regex === '*');
}

/** Istio `StringMatch`; empty, or the regular expression `*`, means that anything will do. */
export function compileStringMatch(spec: StringMatchSpec): StringMatch {
  if (spec.exact !== undefined) return { kind: 'exact', value: spec.exact };
  if (spec.prefix !== undefined) return { kind: 'prefix', value: spec.prefix };
  if (spec.regex !== undefined && spec.regex !== '*') return { kind: 'regex', value: spec.regex };
  return { kind: 'present' };
}
