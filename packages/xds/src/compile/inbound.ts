import type { EnforcementEntry } from 'inmesh/config';
import {
  defaultInboundPolicy,
  type ExternalCheck,
  type InboundPolicy,
  type LocalRateLimit,
  type MeshTrust,
  type MtlsMode,
  type PortScope,
  type Provenance,
  type RbacFilter,
  type StringMatch,
  type TlsParameters,
} from 'inmesh/model';
import { type Any, unpack } from '../proto/any.ts';
import { routeConfigurationSchema } from '../proto/envoy/route-config.ts';
import { kindOf, problemOf, type ResourceProblem, type ResourceSet } from '../resources.ts';
import type { CompileContext, CompiledSide } from './compile.ts';
import { contentOf } from './content.ts';
import type { HttpChain } from './inbound-http.ts';
import type { InboundListener, InboundPort } from './inbound-listener.ts';
import { checkRoutes } from './inbound-routes.ts';
import { servedRoutes, type UnservedRoutes } from './inbound-served.ts';
import { type ReadListener, readListener } from './listener.ts';

/** What callers have to be, and whose names count for the own trust domain. */
export interface Inbound {
  readonly inbound: InboundPolicy;
  /** Present where the listener names other trust domains than the own one. */
  readonly trust?: MeshTrust;
}

type Inputs = Pick<ResourceSet, 'listeners' | 'routes'>;
const last = new WeakMap<CompileContext, Inputs & { readonly side: CompiledSide<Inbound> }>();

/**
 * The inbound listeners as what this process demands of its callers. Where a listener ought to be and is not, nobody
 * is let in: it may be one that was refused. The same object while the listeners and routes are.
 */
export function compileInbound({ listeners, routes }: Inputs, context: CompileContext): CompiledSide<Inbound> {
  const known = last.get(context);
  if (known !== undefined && known.listeners === listeners && known.routes === routes) return known.side;
  const side = build({ listeners, routes }, context);
  last.set(context, { listeners, routes, side });
  return side;
}

function build(set: Inputs, context: CompileContext): CompiledSide<Inbound> {
  const entries: EnforcementEntry[] = [];
  const listeners: InboundListener[] = [];
  const refused: ResourceProblem[] = [];
  for (const [name, any] of set.listeners) {
    const { ignored, value } = readListener(any);
    if (!isOwn(value, context)) continue;
    if (value.either?.notInbound !== undefined) refused.push(problemOf('listeners', name, value.either.notInbound));
    if (value.inbound === undefined) continue;
    listeners.push(value.inbound);
    for (const field of ignored) entries.push({ at: placeOf(name), field, status: 'ignored' });
  }
  if (listeners.length === 0)
    return {
      result: { inbound: withoutListener(context, entries) },
      entries,
      problems: refused,
      ...(refused.length > 0 ? { refused: true } : {}),
      wanted: {},
    };
  const ports = listeners.flatMap((listener) => listener.ports.map((port) => ({ ...port, listener: listener.name })));
  const routes = new Set(ports.flatMap(({ http }) => http?.routes ?? []));
  const problems = [
    ...refused,
    ...conflicts(ports),
    ...[...routes].flatMap((name) => routeProblem(name, set.routes.get(name)) ?? []),
  ];
  // They may say who is let in. A control plane that has none, or has others refused, leaves nobody to ask.
  const absent = [...routes].filter((name) => !set.routes.has(name));
  const refuses = problems.length + absent.length > 0;
  for (const name of absent) {
    const note = 'the control plane has no such routes that can be used: nobody is let in';
    entries.push({
      at: { ...placeOf(name), kind: kindOf('routes') },
      field: '',
      status: 'ignored',
      note,
      warning: true,
    });
  }
  const result = refuses
    ? { inbound: nobody(placeOf(listeners[0]?.name ?? '')) }
    : merged(ports, context, set.routes, entries);
  if (!refuses && !ports.some(demands)) {
    const field = 'filter_chains';
    const note = 'nothing is demanded of callers: no mTLS, no policy, no token. Whoever reaches this process is let in';
    entries.push({ at: placeOf(listeners[0]?.name ?? ''), field, status: 'ignored', note, warning: true });
  }
  if (timed(result.inbound.routes)) {
    const field = 'route_config.virtual_hosts[].routes[].route.timeout';
    const note = 'the application and the calls that it causes are told by their deadline; an answer is not cut off';
    entries.push({ at: placeOf(listeners[0]?.name ?? ''), field, status: 'approximated', note });
  }
  return {
    result,
    entries,
    problems,
    ...(refuses ? { refused: true } : {}),
    wanted: routes.size === 0 ? {} : { routes },
  };
}

/** Ports may share routes, of which is told once. */
function createTeller(entries: EnforcementEntry[]): (listener: string, unserved: UnservedRoutes) => void {
  const told = new Set<string>();
  return (listener, { field: inner, name, ...what }) => {
    const at = name === undefined ? placeOf(listener) : { ...placeOf(name), kind: kindOf('routes') };
    const field = name === undefined ? `route_config${inner === '' ? '' : `.${inner}`}` : inner;
    const text = JSON.stringify([at.kind, at.name, field, what.note]);
    if (!told.has(text)) entries.push({ at, field, ...what });
    told.add(text);
  };
}

function timed(routes: InboundPolicy['routes'] = []): boolean {
  return routes.some(({ hosts }) =>
    hosts.some(({ virtualHost }) => virtualHost.routes.some(({ timeoutMs }) => timeoutMs !== undefined)),
  );
}

type Port = InboundPort & { readonly listener: string };

/** Profile `grpc` asks for listeners by their names; others are not for this process. istiod says which way one is for. */
function isOwn({ either, inbound, name }: ReadListener, { profile, serverListeners }: CompileContext): boolean {
  return profile === 'istio' ? inbound !== undefined && either === undefined : serverListeners.includes(name);
}

function placeOf(name: string): Provenance {
  return { kind: 'Listener', namespace: 'xds', name };
}

function withoutListener({ profile, serverListeners }: CompileContext, entries: EnforcementEntry[]): InboundPolicy {
  const at = placeOf(serverListeners[0] ?? 'virtualInbound');
  if (profile === 'istio' || serverListeners.length > 0) {
    const note = 'the control plane has no such listener that can be used: nobody is let in';
    entries.push({ at, field: '', status: 'ignored', note, warning: true });
    return nobody(at);
  }
  const note = 'no listener is asked for what this process serves: nothing is demanded of callers';
  entries.push({ at, field: '', status: 'ignored', note, warning: true });
  return defaultInboundPolicy;
}

/** Lets nobody in: an ALLOW filter without policies. */
function nobody(at: Provenance, scope?: PortScope): InboundPolicy {
  return {
    ...defaultInboundPolicy,
    rbac: [{ ...(scope && { scope }), rules: { action: 'ALLOW', policies: [] }, provenance: at }],
  };
}

/** What is one for all ports of this process, and two listeners say differently. */
function conflicts(ports: readonly Port[]): readonly ResourceProblem[] {
  const problems: ResourceProblem[] = [];
  const refuse = ({ listener }: Port, message: string): void =>
    void problems.push({ type: 'listeners', resource: listener, field: '', message, unenforceable: true });
  const seen = new Set<number | undefined>();
  let first: HttpChain | undefined;
  for (const port of ports) {
    if (seen.has(port.port)) refuse(port, `port ${port.port ?? 'any'} is that of another listener, too`);
    seen.add(port.port);
    if (port.http === undefined) continue;
    first ??= port.http;
    for (const field of ['tokens', 'forwardClientCert', 'pathNormalization', 'numTrustedProxies'] as const) {
      if (contentOf(port.http[field]) === contentOf(first[field])) continue;
      refuse(port, `${field} has to be the same on all ports of one process`);
    }
  }
  return problems;
}

/** What is wrong with a route configuration that is a resource of its own. */
function routeProblem(name: string, any: Any | undefined): ResourceProblem | undefined {
  if (any === undefined) return undefined;
  let found = checkedRoutes.get(any);
  if (found === undefined) {
    found = null;
    try {
      const config = unpack(routeConfigurationSchema, any);
      if (config !== undefined) checkRoutes(config, { path: '', note: () => {} });
    } catch (error) {
      found = problemOf('routes', name, error);
    }
    checkedRoutes.set(any, found);
  }
  return found ?? undefined;
}

const checkedRoutes = new WeakMap<Any, ResourceProblem | null>();

function merged(
  ports: readonly Port[],
  { workload }: CompileContext,
  routes: ResourceSet['routes'],
  entries: EnforcementEntry[],
): Inbound {
  const others = ports.find(({ port }) => port === undefined);
  const named = ports.flatMap(({ port }) => (port === undefined ? [] : [port]));
  const [http] = ports.flatMap((port) => port.http ?? []);
  const modes = new Map(
    ports.flatMap(({ mode, port }): [number, MtlsMode][] => (port === undefined ? [] : [[port, mode]])),
  );
  const { aliases, covered } = trustOf(ports, workload.trustDomain);
  const rbac = [
    ...grouped(ports, (port) => rbacOf(port, covered)).flatMap(({ items, scope }) =>
      items.map((filter): RbacFilter => ({ ...filter, ...(scope && { scope }) })),
    ),
    // Connections that no chain is for are closed.
    ...(others === undefined
      ? (nobody(placeOf(ports[0]?.listener ?? ''), { ports: named, except: true }).rbac ?? [])
      : []),
  ];
  const checks = grouped(ports, ({ http: chain }) => chain?.checks ?? []).flatMap(({ items, scope }) =>
    items.map((check): ExternalCheck => ({ ...check, ...(scope && { scope }) })),
  );
  const limits = grouped(ports, ({ http: chain }) => chain?.limits ?? []).flatMap(({ items, scope }) =>
    items.map((limit) => scoped(limit, scope)),
  );
  const tell = createTeller(entries);
  const served = grouped(ports, ({ http: chain, listener }) =>
    chain === undefined ? [] : servedRoutes(chain.served, routes, (unserved) => tell(listener, unserved)),
  );
  const tokens = http?.tokens.rules ?? [];
  const provenance = placeOf(ports[0]?.listener ?? '');
  const inbound: InboundPolicy = {
    mtls: { mode: others?.mode ?? 'PERMISSIVE', ports: modes, provenance },
    ...tlsOf(ports),
    authorization: [],
    ...(rbac.length === 0 ? {} : { rbac }),
    ...(checks.length === 0 ? {} : { checks }),
    ...(limits.length === 0 ? {} : { localRateLimits: limits }),
    ...(served.some(({ items }) => items.length > 0)
      ? { routes: served.flatMap(({ items, scope }) => items.map((each) => ({ ...each, ...(scope && { scope }) }))) }
      : {}),
    ...(tokens.length === 0 ? {} : { requestAuthentication: [{ rules: tokens, provenance }] }),
    ...(http === undefined ? {} : settingsOf(http)),
  };
  return aliases.length === 0
    ? { inbound }
    : { inbound, trust: { trustDomain: workload.trustDomain, aliases, anchors: [] } };
}

/** Ports that say nothing may be spoken to in all that the mesh speaks, whatever the others say. */
function tlsOf(ports: readonly Port[]): Pick<InboundPolicy, 'tls'> {
  if (!ports.some(({ tls }) => tls !== undefined)) return {};
  const others = ports.find(({ port }) => port === undefined)?.tls;
  const named = ports.flatMap(({ port, tls }): [number, TlsParameters][] =>
    port === undefined || (tls ?? others) === undefined ? [] : [[port, tls ?? {}]],
  );
  return { tls: { ports: new Map(named), ...(others === undefined ? {} : { others }) } };
}

function settingsOf({ forwardClientCert, numTrustedProxies, pathNormalization }: HttpChain): Partial<InboundPolicy> {
  return { forwardClientCert, pathNormalization, ...(numTrustedProxies === 0 ? {} : { numTrustedProxies }) };
}

/** The filters of one port: for its requests, for its connections, or for both where it has no HTTP chain. */
function rbacOf({ http, listener, names, tcp }: Port, covered: boolean): readonly RbacFilter[] {
  const own = covered || names.length === 0 ? [] : [onlyNames(names, placeOf(listener))];
  if (http === undefined) return [...own, ...(tcp ?? [])];
  const requests = http.rbac.map((filter): RbacFilter => ({ ...filter, about: 'requests' }));
  const demands = http.rbac.some(refuses) || http.checks.length + http.tokens.rules.length > 0;
  const connections: readonly RbacFilter[] =
    tcp === undefined
      ? // Envoy reads requests there, and would refuse anything else.
        demands
        ? (nobody(placeOf(listener)).rbac ?? [])
        : []
      : tcp;
  return [
    ...own,
    ...requests,
    ...connections.map((filter): RbacFilter => ({ ...filter, about: 'connections' as const })),
  ];
}

/** It is no dry run, and not only there to be logged. */
function refuses({ rules }: RbacFilter): boolean {
  return rules !== undefined && rules.action !== 'LOG';
}

/** Who proves an identity must have one of these names. */
function onlyNames(names: readonly StringMatch[], at: Provenance): RbacFilter {
  const provenance = { ...at, field: 'match_typed_subject_alt_names' };
  return {
    rules: {
      action: 'DENY',
      policies: [
        {
          name: 'match_typed_subject_alt_names',
          provenance,
          rule: 0,
          permissions: [{ kind: 'any' }],
          principals: [
            {
              kind: 'and',
              of: [
                { kind: 'authenticated' },
                { kind: 'not', of: { kind: 'or', of: names.map((match) => ({ kind: 'authenticated', match })) } },
              ],
            },
          ],
        },
      ],
    },
    provenance,
  };
}

/**
 * Istio names the trust domains whose certificates count as prefixes: the own one and its aliases. Where all ports name
 * the same, and the own one is among them, verification of certificates sees to all of it.
 */
function trustOf(
  ports: readonly Port[],
  own: string,
): { readonly aliases: readonly string[]; readonly covered: boolean } {
  const lists = ports.flatMap(({ mode, names }) => (mode === 'DISABLE' ? [] : [names]));
  const [first = []] = lists;
  const domains = first.map((name) =>
    name.kind === 'prefix' ? /^spiffe:\/\/([^/]+)\/$/.exec(name.value)?.[1] : undefined,
  );
  const same = lists.every((names) => contentOf(names) === contentOf(first));
  if (!same || !domains.includes(own) || domains.includes(undefined)) return { aliases: [], covered: false };
  return {
    aliases: domains.flatMap((domain) => (domain === undefined || domain === own ? [] : [domain])),
    covered: true,
  };
}

interface Group<T> {
  readonly items: readonly T[];
  /** Absent: all ports. */
  readonly scope?: PortScope;
}

/** Lists that are the same on several ports, once for all of these. */
function grouped<T>(ports: readonly Port[], of: (port: Port) => readonly T[]): readonly Group<T>[] {
  const groups = new Map<string, { readonly items: readonly T[]; readonly ports: Port[] }>();
  for (const port of ports) {
    const items = of(port);
    const key = contentOf(items);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { items, ports: [port] });
    else group.ports.push(port);
  }
  return [...groups.values()].map(({ items, ports: own }) => {
    const numbers = own.flatMap(({ port }) => port ?? []);
    if (numbers.length === own.length) return { items, scope: { ports: numbers } };
    const rest = ports.flatMap(({ port }) => (port === undefined || numbers.includes(port) ? [] : [port]));
    return rest.length === 0 ? { items } : { items, scope: { ports: rest, except: true } };
  });
}

function scoped(limit: LocalRateLimit, scope: PortScope | undefined): LocalRateLimit {
  if (scope === undefined) return limit;
  const { except, ports } = scope;
  return { ...limit, rules: [{ from: [], to: [except === true ? { notPorts: ports } : { ports }] }] };
}

/** Whether anything is asked of who calls this port. */
function demands({ http, mode, tcp }: Port): boolean {
  const asked = (http?.checks.length ?? 0) + (http?.tokens.rules.length ?? 0) > 0;
  return mode === 'STRICT' || asked || [...(http?.rbac ?? []), ...(tcp ?? [])].some(refuses);
}
