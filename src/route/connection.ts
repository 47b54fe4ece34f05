import { BlockList, isIP } from 'node:net';
import type { ConnectionRoute } from '../model/route.ts';

/** What is known of a connection before its first byte. */
export interface ConnectionFacts {
  /** Name that the TLS handshake of the application announces; absent when it speaks no TLS. */
  readonly sni?: string;
  /** Host or IP address that the application named. */
  readonly host: string;
}

export type ConnectionMatcher = (facts: ConnectionFacts) => ConnectionRoute | undefined;

/**
 * The `tls` and `tcp` rules of one host and port, first match wins. A rule with `sniHosts` matches
 * by the announced name only, one with `destinationSubnets` only a call to an address (Istio
 * `TLSMatchAttributes`, `L4MatchAttributes`).
 */
export function compileConnectionRoutes(routes: readonly ConnectionRoute[]): ConnectionMatcher {
  const compiled = routes.map((route) => ({ route, test: compileRule(route) }));
  return (facts) => compiled.find(({ test }) => test(facts))?.route;
}

function compileRule({ sniHosts, destinationSubnets }: ConnectionRoute): (facts: ConnectionFacts) => boolean {
  const names = sniHosts?.map((name) => name.toLowerCase());
  const subnets = destinationSubnets === undefined ? undefined : blockListOf(destinationSubnets);
  return ({ host, sni }) => {
    if (names !== undefined && (sni === undefined || !names.some((name) => covers(name, sni.toLowerCase()))))
      return false;
    if (subnets === undefined) return true;
    const family = isIP(host);
    return family !== 0 && subnets.check(host, family === 4 ? 'ipv4' : 'ipv6');
  };
}

/** Does `*.example.com`, or an equal name, cover this one? */
function covers(pattern: string, name: string): boolean {
  if (!pattern.startsWith('*')) return pattern === name;
  const suffix = pattern.slice(1);
  return name.length > suffix.length && name.endsWith(suffix);
}

function blockListOf(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', prefix] = subnet.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}
