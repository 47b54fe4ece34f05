import type { ConnectionRoute, SkippedRule, WeightedDestination } from '../model/route.ts';
import type { Collector } from './collector.ts';
import { formatPath, type Path } from './document.ts';
import { whyNeverConnection } from './istio-http-match.ts';
import type {
  CallerContext,
  DestinationSpec,
  RouteDestinationSpec,
  TcpRouteSpec,
  VirtualService,
} from './istio-virtual-service.ts';

export interface ConnectionContext {
  readonly caller: CallerContext;
  clusterOf(owner: VirtualService, destination: DestinationSpec): string;
}

export interface CompiledConnections {
  readonly connections: readonly ConnectionRoute[];
  readonly skipped: readonly SkippedRule[];
  /** Some rule takes every connection that comes so far. */
  readonly closed: boolean;
}

/**
 * The `tcp` rules of all VirtualServices for a service, in order, up to the first that takes every connection. Other
 * than for HTTP, rules of several VirtualServices add up, as in Istio.
 */
export function compileTcpRules(
  owners: readonly VirtualService[],
  context: ConnectionContext,
  collector: Collector,
): CompiledConnections {
  const connections: ConnectionRoute[] = [];
  const skipped: SkippedRule[] = [];
  let closedBy: string | undefined;
  for (const owner of owners) {
    for (const [index, spec] of (owner.body.spec.tcp ?? []).entries()) {
      const base = describe(owner, ['spec', 'tcp', index], collector);
      if (closedBy !== undefined) {
        skipped.push({ ...base, reason: `${closedBy} takes every connection before it` });
        continue;
      }
      const { subnets, reasons } = subnetsOf(spec, context.caller);
      if (subnets === undefined) {
        skipped.push({ ...base, reason: reasons.join('; ') });
        continue;
      }
      const destinations = compileDestinations(owner, spec.route ?? [], context);
      connections.push({
        ...base,
        ...(subnets.length === 0 ? {} : { destinationSubnets: subnets }),
        destinations,
      });
      if (subnets.length === 0) closedBy = base.name;
    }
  }
  return { connections, skipped, closed: closedBy !== undefined };
}

/** All subnets of the entries that may hold; empty: any address; absent: no entry can hold. */
function subnetsOf(
  { match: entries = [] }: TcpRouteSpec,
  caller: CallerContext,
): { readonly subnets?: readonly string[]; readonly reasons: readonly string[] } {
  if (entries.length === 0) return { subnets: [], reasons: [] };
  const reasons: string[] = [];
  const subnets: string[] = [];
  for (const [index, match] of entries.entries()) {
    const never = whyNeverConnection(match, caller);
    if (never !== undefined) reasons.push(`match[${index}]: ${never}`);
    else if ((match.destinationSubnets ?? []).length === 0) return { subnets: [], reasons };
    else subnets.push(...withoutZones(match.destinationSubnets));
  }
  return subnets.length === 0 ? { reasons } : { subnets, reasons };
}

/** `fe80::1%eth0` is `fe80::1`: an interface says nothing about a destination. */
function withoutZones(subnets: readonly string[] = []): readonly string[] {
  return subnets.map((subnet) => subnet.replace(/%.*$/, ''));
}

/**
 * The `tls` rules of all VirtualServices for a service, an entry for each `match`. Where several have the same names
 * and subnets the first counts, as in Istio.
 */
export function compileTlsRules(
  owners: readonly VirtualService[],
  context: ConnectionContext,
  collector: Collector,
): CompiledConnections {
  const connections: ConnectionRoute[] = [];
  const skipped: SkippedRule[] = [];
  const seen = new Set<string>();
  for (const owner of owners) {
    for (const [index, spec] of (owner.body.spec.tls ?? []).entries()) {
      const base = describe(owner, ['spec', 'tls', index], collector);
      const reasons: string[] = [];
      let used = false;
      for (const [at, match] of spec.match.entries()) {
        const { sniHosts, destinationSubnets = [] } = match;
        const key = `${sniHosts.join(',')}|${destinationSubnets.join(',')}`;
        const never =
          whyNeverConnection(match, context.caller) ??
          (seen.has(key) ? 'an earlier rule has the same names' : undefined);
        if (never !== undefined) {
          reasons.push(`match[${at}]: ${never}`);
          continue;
        }
        seen.add(key);
        used = true;
        connections.push({
          ...base,
          sniHosts: sniHosts.map((name) => name.toLowerCase()),
          ...(destinationSubnets.length === 0 ? {} : { destinationSubnets: withoutZones(destinationSubnets) }),
          destinations: compileDestinations(owner, spec.route ?? [], context),
        });
      }
      if (!used) skipped.push({ ...base, reason: reasons.join('; ') });
    }
  }
  // Where there are rules for names, other names go nowhere.
  return { connections, skipped, closed: connections.length > 0 };
}

function describe(owner: VirtualService, path: Path, collector: Collector): Pick<SkippedRule, 'name' | 'provenance'> {
  const field = formatPath(path.slice(1));
  return { name: `${owner.name} ${field}`, provenance: { ...collector.at(owner, path), field } };
}

function compileDestinations(
  owner: VirtualService,
  given: readonly RouteDestinationSpec[],
  context: ConnectionContext,
): readonly WeightedDestination[] {
  return given.flatMap(({ destination, weight = 0 }) => {
    if (given.length > 1 && weight === 0) return [];
    return [
      { cluster: context.clusterOf(owner, destination), weight: given.length === 1 ? Math.max(1, weight) : weight },
    ];
  });
}
