import type { ServiceMatch } from '../model/authorization.ts';
import { consulServiceOf } from '../model/consul-service-id.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { Condition } from './facts.ts';

/** The texts under which a service of Consul is looked up: by itself, as one of its namespace, as any. */
interface ServiceKeys {
  readonly exact: string;
  readonly inNamespace: string;
  readonly anywhere: string;
}

const keysByPeer = new WeakMap<Peer, ServiceKeys | null>();

/** Read once for each connection, which keeps its peer. */
function keysOf(peer: Peer): ServiceKeys | null {
  let keys = keysByPeer.get(peer);
  if (keys === undefined) keysByPeer.set(peer, (keys = readKeys(peer)));
  return keys;
}

function readKeys({ spiffeId }: Peer): ServiceKeys | null {
  const id = consulServiceOf(spiffeId);
  if (id === undefined) return null;
  const { namespace, partition, service, trustDomain } = id;
  return {
    exact: key(trustDomain, partition, namespace, service),
    inNamespace: key(trustDomain, partition, namespace, '*'),
    anywhere: key(trustDomain, partition, '*', '*'),
  };
}

/** No part has a slash. */
function key(trustDomain: string, partition: string, namespace: string, name: string): string {
  return `${trustDomain}/${partition}/${namespace}/${name}`;
}

/** Under which the service of a caller is known; nothing for callers without an identity of Consul. */
export function serviceKey(peer: Peer | undefined): string | undefined {
  return peer === undefined ? undefined : keysOf(peer)?.exact;
}

/** The keys of services that are all named outright; nothing when a wildcard is among them. */
export function serviceKeys(matches: readonly ServiceMatch[]): readonly string[] | undefined {
  if (matches.some(({ name, namespace }) => name === '*' || namespace === '*')) return undefined;
  return matches.flatMap(keysOfMatch);
}

function keysOfMatch({ name, namespace, partition, trustDomains }: ServiceMatch): readonly string[] {
  return trustDomains.map((trustDomain) => key(trustDomain, partition, namespace, name));
}

/** Compiles services as Consul names them: one look-up for each kind of wildcard. */
export function services(matches: readonly ServiceMatch[]): Condition {
  const all = new Set(matches.flatMap(keysOfMatch));
  return ({ peer }) => {
    const keys = peer === undefined ? null : keysOf(peer);
    return keys !== null && (all.has(keys.exact) || all.has(keys.inNamespace) || all.has(keys.anywhere));
  };
}
