import type { Provenance } from '../model/provenance.ts';
import type { Route, VirtualHost } from '../model/route.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { whyNoMatch } from '../route/conditions.ts';
import type { RoutableRequest } from '../route/request-view.ts';
import type { PassedOver } from './result.ts';

/** `VirtualService bookinfo/reviews http[2]`. */
export function ruleName({ kind, namespace, name, field }: Provenance): string {
  return `${kind} ${namespace}/${name}${field === undefined ? '' : ` ${field}`}`;
}

const byName = new WeakMap<Snapshot, ReadonlyMap<string, VirtualHost>>();

/** Virtual hosts are found by address and short name as well; this is by their own name. */
export function virtualHostOf(snapshot: Snapshot, name: string): VirtualHost | undefined {
  let known = byName.get(snapshot);
  if (known === undefined) {
    const all = new Map<string, VirtualHost>();
    for (const { virtualHost } of snapshot.wildcardHosts) all.set(virtualHost.name, virtualHost);
    for (const virtualHost of snapshot.hosts.values()) all.set(virtualHost.name, virtualHost);
    byName.set(snapshot, (known = all));
  }
  return known.get(name);
}

/** The rules before the one that decided, in their order, with the reason for each. */
export function rulesBefore(
  virtualHost: VirtualHost | undefined,
  decided: Route | undefined,
  request: RoutableRequest,
): readonly PassedOver[] {
  if (virtualHost === undefined) return [];
  const result: PassedOver[] = [];
  for (const { name, reason, provenance } of virtualHost.skipped ?? []) {
    if (comesBefore(provenance, decided?.provenance)) result.push(passed(name, provenance, [reason]));
  }
  for (const route of virtualHost.routes) {
    // One without conditions takes every request; behind it there is nothing to pass over.
    if (route === decided || route.matches.length === 0) break;
    const reasons = route.matches.map((match, index) => {
      const why = whyNoMatch(match, request) ?? 'a condition does not hold';
      return route.matches.length === 1 ? why : `match[${match.index ?? index}]: ${why}`;
    });
    result.push(passed(route.name, route.provenance, reasons));
  }
  return result.sort((a, b) => positionOf(a.at) - positionOf(b.at));
}

function passed(name: string, at: Provenance | undefined, reasons: readonly string[]): PassedOver {
  return { rule: at === undefined ? name : ruleName(at), ...(at === undefined ? {} : { at }), reasons };
}

function comesBefore(skipped: Provenance, decided: Provenance | undefined): boolean {
  if (decided === undefined || decided.name !== skipped.name || decided.namespace !== skipped.namespace) return true;
  return positionOf(skipped) < positionOf(decided);
}

/** Of `http[2]`: 2. */
function positionOf(at: Provenance | undefined): number {
  const index = /\[([0-9]+)\]$/.exec(at?.field ?? '')?.[1];
  return index === undefined ? 0 : Number(index);
}
