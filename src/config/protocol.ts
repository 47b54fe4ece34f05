import type { ServiceProtocol } from '../model/cluster.ts';

/** Istio's protocol names and what they are here. `undefined` in the map: not carried (UDP). */
const protocols: ReadonlyMap<string, ServiceProtocol | undefined> = new Map([
  ['http', 'http'],
  ['http_proxy', 'http'],
  ['http2', 'http2'],
  ['grpc', 'grpc'],
  ['grpc-web', 'grpc'],
  ['https', 'https'],
  ['tls', 'tls'],
  ['tcp', 'tcp'],
  ['mongo', 'tcp'],
  ['redis', 'tcp'],
  ['mysql', 'tcp'],
  ['udp', undefined],
]);

/** Kubernetes' own names for `appProtocol`. */
const appProtocols: ReadonlyMap<string, ServiceProtocol> = new Map([
  ['kubernetes.io/h2c', 'http2'],
  ['kubernetes.io/ws', 'http'],
  ['kubernetes.io/wss', 'https'],
]);

/** SMTP, DNS, MySQL, MongoDB: servers that speak first, so Istio never takes them for HTTP. */
const serverFirstPorts: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/** Names that a ServiceEntry port may have as its protocol, upper case as Istio documents them. */
export const knownProtocols: readonly string[] = [...protocols.keys()].map((name) => name.toUpperCase());

/** A protocol that is known but not carried is `none`. */
export type PortProtocol = ServiceProtocol | 'none';

/** Protocol of a ServiceEntry port; nothing when the word is not known. Absent means HTTP. */
export function protocolOf(word: string | undefined): PortProtocol | undefined {
  if (word === undefined || word === '') return 'http';
  const name = word.toLowerCase();
  return protocols.has(name) ? (protocols.get(name) ?? 'none') : undefined;
}

/**
 * Protocol of a Kubernetes Service port, by Istio's rules: `appProtocol` first, then the port name
 * up to its first dash. Istio looks at the traffic of a port that declares nothing; what a Node.js
 * process sends there through an HTTP client is HTTP.
 */
export function protocolOfPort(port: {
  readonly port: number;
  readonly name?: string;
  readonly protocol?: string;
  readonly appProtocol?: string;
}): PortProtocol {
  if (port.protocol !== undefined && port.protocol !== 'TCP') return 'none';
  const special = port.appProtocol === undefined ? undefined : appProtocols.get(port.appProtocol);
  if (special !== undefined) return special;
  const name = (port.appProtocol ?? port.name ?? '').toLowerCase();
  const word = name.startsWith('grpc-web') ? 'grpc-web' : name.replace(/-.*$/s, '');
  if (word !== '' && protocols.has(word)) return protocols.get(word) ?? 'none';
  return serverFirstPorts.has(port.port) ? 'tcp' : 'http';
}

/** Do HTTP routes apply to a port of this protocol? */
export function isHttp(protocol: ServiceProtocol): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}
