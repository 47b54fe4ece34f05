import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import {
  type DestinationSpec,
  type HttpMatchSpec,
  type HttpRouteSpec,
  isDelegate,
  meshGateway,
  type StringMatchSpec,
  type VirtualService,
} from './istio-virtual-service.ts';
import { rememberPart, rememberStep, sameItems } from './remember.ts';
import { isExported, resolveHost } from './resource.ts';

/** An `http` rule, with full host names in it, and the place where it is written. */
export interface HttpRule {
  readonly spec: HttpRouteSpec;
  /** The delegate, where the rule comes from one. */
  readonly resource: VirtualService;
  /** `['spec', 'http', 2]`. */
  readonly path: Path;
  readonly index: number;
}

export interface Delegates {
  /** The rules of a VirtualService, those of its delegates in their places. */
  rulesOf(resource: VirtualService): readonly HttpRule[];
}

/**
 * Istio's `delegate`: a rule of one VirtualService (the root) is replaced by the rules of another that has no hosts.
 * A delegate that is not there, or not exported to the root, leaves out that one rule; so does a rule of the
 * delegate that asks for more than the root lets through.
 */
export function createDelegates(
  resources: readonly VirtualService[],
  clusterDomain: string,
  collector: Collector,
): Delegates {
  const delegates = new Map<string, VirtualService>();
  for (const each of resources) if (isDelegate(each)) delegates.set(`${each.namespace}/${each.name}`, each);
  const used = new Set<VirtualService>();
  const compiled = new Map<VirtualService, readonly HttpRule[]>();
  for (const each of resources) if (!isDelegate(each)) compiled.set(each, compileRules(each));
  for (const delegate of delegates.values()) {
    if (used.has(delegate)) continue;
    collector.retract(delegate);
    const note = 'has no hosts, and no VirtualService delegates to it';
    collector.warn(delegate, ['spec'], 'ignored', note);
  }
  return { rulesOf: (resource) => compiled.get(resource) ?? [] };

  function compileRules(root: VirtualService): readonly HttpRule[] {
    const own = ownRules(root);
    if (!own.some(({ spec }) => spec.delegate !== undefined)) return own;
    const targets = own.map(({ spec: { delegate } }) => delegate && delegates.get(idOf(delegate, root)));
    for (const target of targets) if (target !== undefined) used.add(target);
    return delegated(root, [clusterDomain, ...targets], collector, () =>
      own.flatMap((rule, index) => follow(root, rule, targets[index])),
    );
  }

  /** A rule, or what stands in its place. */
  function follow(root: VirtualService, rule: HttpRule, found: VirtualService | undefined): readonly HttpRule[] {
    const { delegate } = rule.spec;
    if (delegate === undefined) return [rule];
    const path = [...rule.path, 'delegate'];
    const id = idOf(delegate, root);
    if (found === undefined) {
      collector.warn(root, path, 'ignored', `there is no VirtualService ${id} without hosts; the rule is left out`);
      return [];
    }
    if (!isExported(found.body.spec.exportTo, found.namespace, root.namespace)) {
      const note = `VirtualService ${id} is not exported to ${root.namespace}; the rule is left out`;
      collector.warn(root, path, 'ignored', note);
      return [];
    }
    return ownRules(found).flatMap((inner) => {
      const spec = mergeRule(rule.spec, inner.spec);
      if (spec !== undefined) return [{ ...inner, spec }];
      const name = `${root.namespace}/${root.name} http[${rule.index}]`;
      collector.warn(found, inner.path, 'ignored', `does not fit into the match of ${name}, and is left out there`);
      return [];
    });
  }

  function ownRules(resource: VirtualService): readonly HttpRule[] {
    return rulesWrittenIn(resource, clusterDomain);
  }
}

/** The rules as they are written, each delegation still a rule. */
export function rulesWrittenIn(resource: VirtualService, clusterDomain: string): readonly HttpRule[] {
  return rulesRead(resource, 'own', [clusterDomain], () => readRules(resource, clusterDomain));
}

const rulesRead = rememberPart<VirtualService, readonly HttpRule[]>();
const delegated = rememberStep<VirtualService, readonly HttpRule[]>();

function idOf({ name = '', namespace }: NonNullable<HttpRouteSpec['delegate']>, root: VirtualService): string {
  return `${namespace || root.namespace}/${name}`;
}

function readRules(resource: VirtualService, clusterDomain: string): readonly HttpRule[] {
  const { namespace, body } = resource;
  // Most names are full already, and what stays as it is is not copied: there may be very many rules.
  const full = <T extends DestinationSpec>(destination: T): T => {
    const host = resolveHost(destination.host, namespace, clusterDomain);
    return host === destination.host ? destination : { ...destination, host };
  };
  const fullIn = <T extends { readonly destination: DestinationSpec }>(each: T): T => {
    const destination = full(each.destination);
    return destination === each.destination ? each : { ...each, destination };
  };
  return (body.spec.http ?? []).map((spec, index) => {
    const { match, route, mirror, mirrors } = spec;
    const changed = {
      ...(match?.some((each) => each.gateways !== undefined)
        ? { match: match.map((each) => withFullGateways(each, namespace)) }
        : {}),
      ...changedList('route', route, fullIn),
      ...(mirror === undefined || full(mirror) === mirror ? {} : { mirror: full(mirror) }),
      ...changedList('mirrors', mirrors, fullIn),
    };
    const isSame = Object.keys(changed).length === 0;
    return { spec: isSame ? spec : { ...spec, ...changed }, resource, path: ['spec', 'http', index], index };
  });
}

function changedList<Name extends string, Item>(
  name: Name,
  list: readonly Item[] | undefined,
  change: (item: Item) => Item,
): { readonly [key in Name]?: readonly Item[] } {
  const items = list?.map(change);
  return items === undefined || sameItems(items, list ?? []) ? {} : ({ [name]: items } as { [key in Name]: Item[] });
}

/** A gateway without a namespace is one of the namespace of the VirtualService. */
function withFullGateways(match: HttpMatchSpec, namespace: string): HttpMatchSpec {
  if (match.gateways === undefined) return match;
  const full = (name: string): string => {
    if (name === meshGateway || name.includes('/')) return name;
    // An old form: `<name>.<namespace>` and perhaps more.
    const [gateway, place = namespace] = name.split('.');
    return `${place}/${gateway}`;
  };
  return { ...match, gateways: match.gateways.map(full) };
}

/** What a delegate does not say is taken from the root; nothing when their conditions exclude each other. */
export function mergeRule(root: HttpRouteSpec, delegate: HttpRouteSpec): HttpRouteSpec | undefined {
  const match = mergeMatches(root.match ?? [], delegate.match ?? []);
  if (match === undefined) return undefined;
  const { delegate: _, match: _match, route: _route, redirect: _redirect, name: _name, ...inherited } = root;
  const name = joinNames(root.name, delegate.name);
  return { ...inherited, ...delegate, match, ...(name === undefined ? {} : { name }) };
}

function joinNames(root = '', delegate = ''): string | undefined {
  const name = root === '' || delegate === '' ? root + delegate : `${root}-${delegate}`;
  return name === '' ? undefined : name;
}

/** Every entry of the delegate must fit into some entry of the root, and is joined with each that it fits. */
function mergeMatches(
  root: readonly HttpMatchSpec[],
  delegate: readonly HttpMatchSpec[],
): readonly HttpMatchSpec[] | undefined {
  if (root.length === 0) return delegate;
  if (delegate.length === 0) return root;
  const joined: HttpMatchSpec[] = [];
  for (const inner of delegate) {
    const fitting = root.filter((outer) => !excludes(outer, inner));
    if (fitting.length === 0) return undefined;
    joined.push(...fitting.map((outer) => mergeMatch(outer, inner)));
  }
  return joined;
}

function mergeMatch(root: HttpMatchSpec, delegate: HttpMatchSpec): HttpMatchSpec {
  const name = joinNames(root.name, delegate.name);
  const maps = ['headers', 'withoutHeaders', 'queryParams', 'sourceLabels'] as const;
  const joined: Record<string, unknown> = { ...root, ...delegate };
  for (const key of maps) {
    if (root[key] !== undefined || delegate[key] !== undefined) joined[key] = { ...root[key], ...delegate[key] };
  }
  // Protobuf cannot tell these from absent ones.
  if ((delegate.port ?? 0) === 0) joined['port'] = root.port ?? 0;
  if ((delegate.sourceNamespace ?? '') === '') joined['sourceNamespace'] = root.sourceNamespace ?? '';
  if ((delegate.gateways ?? []).length === 0) joined['gateways'] = root.gateways ?? [];
  if ((delegate.statPrefix ?? '') === '') joined['statPrefix'] = root.statPrefix ?? '';
  return { ...joined, ...(name === undefined ? {} : { name }) };
}

/** Does the delegate ask for what the root does not let through? */
function excludes(root: HttpMatchSpec, delegate: HttpMatchSpec): boolean {
  for (const key of ['uri', 'scheme', 'method', 'authority'] as const) {
    if (differ(root[key], delegate[key])) return true;
  }
  for (const key of ['headers', 'withoutHeaders', 'queryParams'] as const) {
    for (const [name, match] of Object.entries(delegate[key] ?? {})) if (differ(root[key]?.[name], match)) return true;
  }
  if ((root.ignoreUriCase ?? false) !== (delegate.ignoreUriCase ?? false)) return true;
  const [rootPort, port] = [root.port ?? 0, delegate.port ?? 0];
  if (rootPort > 0 && port > 0 && rootPort !== port) return true;
  const { sourceNamespace = '' } = root;
  if (sourceNamespace !== '' && (delegate.sourceNamespace ?? '') !== sourceNamespace) return true;
  for (const [key, value] of Object.entries(delegate.sourceLabels ?? {})) {
    const outer = root.sourceLabels;
    if (outer !== undefined && Object.hasOwn(outer, key) && outer[key] !== value) return true;
  }
  const [outer = [], inner = []] = [root.gateways, delegate.gateways];
  if (outer.length === 0 || inner.length === 0) return false;
  return outer.length < inner.length || inner.some((gateway) => !outer.includes(gateway));
}

/** Texts may be narrowed: a prefix by a longer prefix or an exact text. Regular expressions go with nothing else. */
function differ(root: StringMatchSpec | undefined, delegate: StringMatchSpec | undefined): boolean {
  if (root === undefined || delegate === undefined) return false;
  const [outer, inner] = [root, delegate].map(({ exact = '', prefix = '', regex = '' }) => ({
    exact,
    prefix,
    regex,
  })) as [Required<StringMatchSpec>, Required<StringMatchSpec>];
  if (outer.exact !== '') return inner.prefix !== '' || inner.exact !== outer.exact;
  if (outer.prefix === '' || inner.regex !== '') return true;
  if (inner.prefix !== '') return !inner.prefix.startsWith(outer.prefix);
  return inner.exact === '' || !inner.exact.startsWith(outer.prefix);
}
