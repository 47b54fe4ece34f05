import { isIP } from 'node:net';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isLabel, isUnixPath, isWildcardDomain } from './host-syntax.ts';
import { type PortProtocol, protocolOf } from './protocol.ts';
import type { Resource } from './resource.ts';

interface Tls {
  readonly mode?: string;
  readonly serverCertificate?: string;
  readonly privateKey?: string;
  readonly caCertificates?: string;
  readonly caCrl?: string;
  readonly credentialName?: string;
  readonly credentialNames?: readonly string[];
  readonly tlsCertificates?: readonly { readonly serverCertificate?: string; readonly privateKey?: string }[];
}

interface Server {
  readonly bind?: string;
  readonly port: {
    readonly number?: number;
    readonly protocol?: string;
    readonly name?: string;
    readonly targetPort?: number;
  };
  readonly hosts?: readonly string[];
  readonly tls?: Tls;
}

export interface GatewayBody {
  readonly spec: { readonly selector?: Readonly<Record<string, string>>; readonly servers?: readonly Server[] };
}

const unix = 'unix://';

/** The rules of Istio's webhook for a Gateway. */
export function validateGateway(resource: Resource<GatewayBody>, collector: Collector): void {
  const { servers = [] } = resource.body.spec;
  if (!isLabel(resource.name)) {
    const text = 'must be a DNS label: the name of a Gateway has no dots and at most 63 characters';
    collector.problem(resource, ['metadata', 'name'], text, resource.name);
  }
  if (servers.length === 0) collector.problem(resource, ['spec'], 'needs at least one entry in servers');
  const names = new Set<string>();
  for (const [index, server] of servers.entries()) {
    const path = ['spec', 'servers', index];
    validateServer(server, resource, path, collector);
    const { name = '' } = server.port;
    if (name !== '' && names.has(name)) {
      collector.problem(resource, [...path, 'port', 'name'], 'must be unique among the servers', name);
    }
    names.add(name);
  }
}

function validateServer(server: Server, resource: Resource, path: Path, collector: Collector): void {
  const { hosts = [], tls } = server;
  if (hosts.length === 0) collector.problem(resource, path, 'needs at least one host');
  for (const [index, host] of hosts.entries()) {
    const wrong = wrongGatewayHost(host);
    if (wrong !== undefined) collector.problem(resource, [...path, 'hosts', index], wrong, host);
  }
  const protocol = validatePort(server, resource, path, collector);
  validateBind(server, resource, path, collector);
  if (tls !== undefined) validateTls(tls, resource, [...path, 'tls'], collector);
  if (protocol === undefined) return;
  if (protocol === 'https' || protocol === 'tls') {
    if (tls === undefined) collector.problem(resource, path, `needs tls for the protocol ${server.port.protocol}`);
  } else if (tls !== undefined && !(isPlainHttp(protocol) && onlyRedirects(tls))) {
    collector.problem(
      resource,
      [...path, 'tls'],
      `is not for the protocol ${server.port.protocol}, but for HTTPS and TLS`,
    );
  }
}

/** The protocol, when the port is right. */
function validatePort(
  { port, bind = '' }: Server,
  resource: Resource,
  path: Path,
  collector: Collector,
): PortProtocol | undefined {
  const { number = 0, protocol = '', name = '', targetPort = 0 } = port;
  // HBONE is a word that Istio knows in other places only.
  const parsed = protocol === '' || protocol.toLowerCase() === 'hbone' ? undefined : protocolOf(protocol);
  const before = collector.countInvalid();
  if (parsed === undefined) {
    collector.problem(resource, [...path, 'port', 'protocol'], 'must be a protocol that Istio knows', protocol);
  }
  if ((number > 0 || !bind.startsWith(unix)) && (number < 1 || number > 65_535)) {
    collector.problem(resource, [...path, 'port', 'number'], 'must be a port from 1 to 65535', number);
  }
  if (targetPort > 0) {
    collector.problem(resource, [...path, 'port', 'targetPort'], 'has no meaning for a Gateway', targetPort);
  }
  if (name === '') collector.problem(resource, [...path, 'port'], 'needs a name');
  return collector.countInvalid() > before ? undefined : parsed;
}

function validateBind({ port, bind = '' }: Server, resource: Resource, path: Path, collector: Collector): void {
  if (bind.startsWith(unix)) {
    if (!isUnixPath(bind.slice(unix.length))) {
      collector.problem(resource, [...path, 'bind'], 'must be unix:// and an absolute path, or an @name', bind);
    }
    if ((port.number ?? 0) !== 0) {
      collector.problem(resource, [...path, 'port', 'number'], 'must be 0 for a Unix socket', port.number);
    }
  } else if (bind !== '' && isIP(bind) === 0) {
    collector.problem(resource, [...path, 'bind'], 'must be an IP address, or unix:// and a path', bind);
  }
}

/** What is wrong with `[<namespace>/]<host>` of a Gateway; nothing when it is right. */
export function wrongGatewayHost(text: string): string | undefined {
  const slash = text.indexOf('/');
  const namespace = slash === -1 ? '*' : text.slice(0, slash);
  const host = text.slice(slash + 1);
  if (namespace !== '*' && namespace !== '.' && !isLabel(namespace)) {
    return 'must have a namespace, * or . before its slash';
  }
  if (host !== '*' && !host.includes('.')) return 'must be a full host name, not a short one';
  if (!isWildcardDomain(host) && isIP(host) === 0) return 'must be a host name, *.<domain>, * or an IP address';
  if (host.includes('*') && host !== '*' && !host.startsWith('*.')) return 'may have * only as its whole first label';
  return undefined;
}

function isPlainHttp(protocol: PortProtocol): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}

/** On a plaintext port only `httpsRedirect` makes sense. */
function onlyRedirects({ mode = 'PASSTHROUGH', ...tls }: Tls): boolean {
  return (
    (mode === 'PASSTHROUGH' || mode === 'AUTO_PASSTHROUGH') &&
    !tls.caCertificates &&
    !tls.privateKey &&
    !tls.serverCertificate
  );
}

/** Istio `ServerTLSSettings`, of a Gateway server or a Sidecar listener. */
export function validateTls(tls: Tls, resource: Resource, path: Path, collector: Collector): void {
  const { mode = 'PASSTHROUGH', credentialName = '', credentialNames = [], tlsCertificates = [] } = tls;
  const say = (field: string, message: string): void => collector.problem(resource, [...path, field], message);
  if (mode === 'ISTIO_MUTUAL') {
    const own = [
      'serverCertificate',
      'privateKey',
      'caCertificates',
      'tlsCertificates',
      'credentialName',
      'credentialNames',
    ];
    for (const field of own) {
      const value = tls[field as keyof Tls];
      if (value !== undefined && value.length > 0) say(field, 'cannot be set with the mode ISTIO_MUTUAL');
    }
    return;
  }
  const sources = [
    tls.serverCertificate && tls.privateKey ? 'serverCertificate and privateKey' : '',
    credentialName === '' ? '' : 'credentialName',
    credentialNames.length === 0 ? '' : 'credentialNames',
    tlsCertificates.length === 0 ? '' : 'tlsCertificates',
  ].filter((source) => source !== '');
  if (sources.length > 1) collector.problem(resource, path, `may have only one of ${sources.join('; ')}`);
  const mutual = mode === 'MUTUAL' || mode === 'OPTIONAL_MUTUAL';
  const terminates = mutual || mode === 'SIMPLE';
  if (terminates && (credentialName !== '' || credentialNames.length > 0)) return;
  if (mutual && !tls.caCertificates) collector.problem(resource, path, `needs caCertificates for the mode ${mode}`);
  if (terminates) {
    const pairs = tlsCertificates.length > 0 ? tlsCertificates : [tls];
    for (const [index, { serverCertificate, privateKey }] of pairs.entries()) {
      const at = tlsCertificates.length > 0 ? [...path, 'tlsCertificates', index] : path;
      if (!serverCertificate) collector.problem(resource, at, `needs serverCertificate for the mode ${mode}`);
      if (!privateKey) collector.problem(resource, at, `needs privateKey for the mode ${mode}`);
    }
  }
  if (tls.caCrl) {
    if (credentialName !== '') say('caCrl', 'cannot be set with credentialName: the credential holds it');
    if (mode === 'SIMPLE') say('caCrl', 'cannot be set with the mode SIMPLE');
  }
}
