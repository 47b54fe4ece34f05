import { isIP } from 'node:net';
import type { Collector } from './collector.ts';
import { hostMatches } from './destination-rules.ts';
import { isWildcardDomain } from './host-syntax.ts';
import { checkExtensions } from './inmesh-annotations.ts';
import { isClaimHeader } from './istio-http-match.ts';
import { checkHttpRoute } from './istio-http-route-check.ts';
import { checkTcpRoute, checkTlsRoute } from './istio-l4-check.ts';
import { checkGatewayNames, isPassthroughName } from './istio-rule-checks.ts';
import { isDelegate, isForMesh, meshGateway, type VirtualService } from './istio-virtual-service.ts';
import { findUnusedRules } from './unused-rules.ts';

/** Refuses what Istio's webhook refuses, and warns where it warns; once per resource. */
export function checkVirtualService(resource: VirtualService, collector: Collector): void {
  const { gateways = [], http = [], tcp = [], tls = [] } = resource.body.spec;
  const forGateway = gateways.length > 0 && !gateways.includes(meshGateway);
  if (isDelegate(resource)) checkDelegate(resource, collector);
  checkGatewayNames(resource, gateways, ['spec', 'gateways'], collector);
  if (!forGateway) checkClaims(resource, collector);
  checkHosts(resource, forGateway, collector);
  if (http.length + tcp.length + tls.length === 0) {
    collector.problem(resource, ['spec'], 'needs rules: http, tcp or tls');
  }
  http.forEach((rule, index) => void checkHttpRoute(resource, rule, ['spec', 'http', index], collector));
  tls.forEach((rule, index) => void checkTlsRoute(resource, rule, ['spec', 'tls', index], collector));
  tcp.forEach((rule, index) => void checkTcpRoute(resource, rule, ['spec', 'tcp', index], collector));
  checkExtensions(resource, collector);
  for (const { path, reason } of findUnusedRules(resource.body.spec)) {
    collector.warn(resource, ['spec', ...path], 'ignored', `is never reached: ${reason}`);
  }
  if (isForMesh(resource)) return;
  collector.retract(resource);
  collector.warn(resource, ['spec', 'gateways'], 'ignored', 'is for gateways only: `mesh` is not among them');
}

function checkDelegate(resource: VirtualService, collector: Collector): void {
  for (const field of ['gateways', 'tls', 'tcp'] as const) {
    if ((resource.body.spec[field] ?? []).length === 0) continue;
    collector.problem(resource, ['spec', field], 'must not be there without hosts: a delegate has http rules only');
  }
}

function checkClaims(resource: VirtualService, collector: Collector): void {
  for (const [index, rule] of (resource.body.spec.http ?? []).entries()) {
    for (const [at, match] of (rule.match ?? []).entries()) {
      for (const field of ['headers', 'withoutHeaders'] as const) {
        for (const name of Object.keys(match[field] ?? {}).filter(isClaimHeader)) {
          const path = ['spec', 'http', index, 'match', at, field, name];
          collector.problem(resource, path, 'claims are matched at gateways only, and this is for the mesh');
        }
      }
    }
  }
}

function checkHosts(resource: VirtualService, forGateway: boolean, collector: Collector): void {
  const { hosts = [], tls = [] } = resource.body.spec;
  const sni = tls.some((rule) => rule.match.some((match) => match.sniHosts.length > 0));
  let valid = true;
  for (const [index, host] of hosts.entries()) {
    const path = ['spec', 'hosts', index];
    const problem =
      host === '*' && !forGateway
        ? 'must not be * in the mesh: it would take over every host'
        : isWildcardDomain(host) || isIP(host) !== 0 || (forGateway && sni && isPassthroughName(host))
          ? undefined
          : 'must be a host name, *.<domain> or an IP address';
    if (problem === undefined) continue;
    valid = false;
    collector.problem(resource, path, problem, host);
  }
  if (!valid) return;
  for (const [index, host] of hosts.entries()) {
    const other = hosts.slice(0, index).find((each) => hostMatches(each, host) || hostMatches(host, each));
    if (other === undefined) continue;
    const text = other === host ? 'is there twice' : `is there twice: ${other} covers the same names`;
    collector.problem(resource, ['spec', 'hosts', index], text, host);
  }
}
