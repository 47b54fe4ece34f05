import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isFqdn, isLabel, isUnixPath, isWildcardDomain } from './host-syntax.ts';
import type { EgressListener, IngressListener, ListenerPort, Sidecar } from './istio-sidecar.ts';
import { isHttp, knownProtocols, protocolOf } from './protocol.ts';
import { checkConnectionPool } from './traffic-policy-check.ts';
import { isIpAddress, isZonedAddress } from './values.ts';

const unixPrefix = 'unix://';
const localHosts = ['', '127.0.0.1', '0.0.0.0', '[127.0.0.1]', '[0.0.0.0]', '[]', '[::1]', '[::]'];

/** What Istio's webhook demands of a Sidecar, beyond the types of its fields. */
export function checkSidecar(resource: Sidecar, collector: Collector): void {
  const { spec } = resource.body;
  const { egress = [], ingress = [], outboundTrafficPolicy: policy, inboundConnectionPool, workloadSelector } = spec;
  if (egress.length + ingress.length === 0 && policy === undefined && inboundConnectionPool === undefined) {
    const parts = 'egress, ingress, outboundTrafficPolicy or inboundConnectionPool';
    collector.problem(resource, ['spec'], `must have ${parts}`);
  }
  if (workloadSelector !== undefined && Object.keys(workloadSelector.labels ?? {}).length === 0) {
    collector.warn(resource, ['spec', 'workloadSelector'], 'enforced', 'has no labels: it selects every workload');
  }
  const ports = new Set<number>();
  ingress.forEach((listener, index) => {
    checkIngress(resource, listener, ['spec', 'ingress', index], ports, collector);
  });
  if (inboundConnectionPool !== undefined) {
    checkConnectionPool(resource, inboundConnectionPool, ['spec', 'inboundConnectionPool'], collector);
  }
  checkEgress(resource, egress, collector);
  if (policy?.egressProxy === undefined) return;
  const path = ['spec', 'outboundTrafficPolicy', 'egressProxy'];
  const { host, subset = '' } = policy.egressProxy;
  if (policy.mode !== 'ALLOW_ANY') collector.problem(resource, path, 'needs the mode ALLOW_ANY');
  if (!isFqdn(host)) collector.problem(resource, [...path, 'host'], 'must be a host name', host);
  if (subset !== '' && !isLabel(subset)) {
    collector.problem(resource, [...path, 'subset'], 'must be the name of a subset', subset);
  }
}

/** Nothing listens there, so that a zone does no harm. */
function isAddress(text: string): boolean {
  return isIpAddress(text) || isZonedAddress(text);
}

function checkPort(resource: Sidecar, port: Omit<ListenerPort, 'number'>, path: Path, collector: Collector): void {
  const { name = '', protocol, targetPort = 0 } = port;
  if (name !== '' && !isLabel(name)) collector.problem(resource, [...path, 'name'], 'must be the name of a port', name);
  if (protocolOf(protocol) === undefined) {
    collector.problem(resource, [...path, 'protocol'], `must be one of ${knownProtocols.join(', ')}`, protocol);
  }
  if (targetPort > 0) collector.problem(resource, [...path, 'targetPort'], 'has no effect in a Sidecar', targetPort);
}

function checkIngress(
  resource: Sidecar,
  listener: IngressListener,
  path: Path,
  ports: Set<number>,
  collector: Collector,
): void {
  const { port, bind = '', defaultEndpoint = '', tls, connectionPool } = listener;
  checkPort(resource, port, [...path, 'port'], collector);
  if (bind !== '' && !isAddress(bind)) collector.problem(resource, [...path, 'bind'], 'must be an IP address', bind);
  if (ports.has(port.number)) collector.problem(resource, [...path, 'port', 'number'], 'is there twice', port.number);
  ports.add(port.number);
  if (defaultEndpoint !== '' && !isEndpoint(defaultEndpoint)) {
    const forms = '127.0.0.1:<port>, 0.0.0.0:<port>, [::1]:<port>, [::]:<port>, :<port> or unix://<path>';
    collector.problem(resource, [...path, 'defaultEndpoint'], `must be ${forms}`, defaultEndpoint);
  }
  const word = protocolOf(port.protocol);
  if (tls !== undefined) {
    const at = [...path, 'tls'];
    const forbidden = [
      'subjectAltNames',
      'httpsRedirect',
      'credentialName',
      'credentialNames',
      'tlsCertificates',
    ] as const;
    for (const name of forbidden) {
      const value = tls[name];
      if (value === undefined || value === false || value === '' || (Array.isArray(value) && value.length === 0))
        continue;
      collector.problem(resource, [...at, name], 'is not possible in a Sidecar');
    }
    const { mode = 'PASSTHROUGH' } = tls;
    if (mode === 'ISTIO_MUTUAL' || mode === 'AUTO_PASSTHROUGH') {
      collector.problem(resource, [...at, 'mode'], 'is not possible in a Sidecar', mode);
    }
    if (word !== 'https' && word !== 'tls') collector.problem(resource, at, 'needs a port with protocol HTTPS or TLS');
    checkCertificates(resource, tls, at, collector);
  }
  if (connectionPool !== undefined) {
    checkConnectionPool(resource, connectionPool, [...path, 'connectionPool'], collector);
  }
  if (connectionPool?.http !== undefined && (word === undefined || word === 'none' || !isHttp(word))) {
    collector.warn(resource, [...path, 'connectionPool', 'http'], 'ignored', 'the protocol of the port is not HTTP');
  }
}

function checkCertificates(
  resource: Sidecar,
  {
    mode = 'PASSTHROUGH',
    serverCertificate = '',
    privateKey = '',
    caCertificates = '',
    caCrl = '',
  }: NonNullable<IngressListener['tls']>,
  path: Path,
  collector: Collector,
): void {
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL' && mode !== 'OPTIONAL_MUTUAL') return;
  if (serverCertificate === '') collector.problem(resource, path, `needs the field serverCertificate for ${mode}`);
  if (privateKey === '') collector.problem(resource, path, `needs the field privateKey for ${mode}`);
  if (mode === 'SIMPLE' && caCrl !== '') {
    collector.problem(resource, [...path, 'caCrl'], 'must be absent for SIMPLE', caCrl);
  }
  if (mode !== 'SIMPLE' && caCertificates === '') {
    collector.problem(resource, path, `needs the field caCertificates for ${mode}`);
  }
}

function isEndpoint(text: string): boolean {
  if (text.startsWith(unixPrefix)) return isUnixPath(text.slice(unixPrefix.length));
  const colon = text.lastIndexOf(':');
  const port = text.slice(colon + 1);
  return (
    colon !== -1 &&
    localHosts.includes(text.slice(0, colon)) &&
    /^\+?[0-9]{1,18}$/.test(port) &&
    Number(port) >= 1 &&
    Number(port) <= 65_535
  );
}

function checkEgress(resource: Sidecar, egress: readonly EgressListener[], collector: Collector): void {
  const ports = new Set<number>();
  const sockets = new Set<string>();
  egress.forEach((listener, index) => {
    const path = ['spec', 'egress', index];
    const { port, bind = '', captureMode = 'DEFAULT', hosts } = listener;
    checkHosts(resource, hosts, [...path, 'hosts'], collector);
    if (port === undefined) {
      if (index < egress.length - 1) {
        collector.problem(resource, path, 'must be the last listener, because it has no port and takes all others');
      }
      return;
    }
    checkPort(resource, port, [...path, 'port'], collector);
    const { number = 0 } = port;
    if (number > 0) {
      if (bind !== '' && !isAddress(bind)) {
        collector.problem(resource, [...path, 'bind'], 'must be an IP address', bind);
      }
      if (ports.has(number)) {
        collector.problem(resource, [...path, 'port', 'number'], 'is there twice', number);
      }
      ports.add(number);
      return;
    }
    if (!bind.startsWith(unixPrefix) || !isUnixPath(bind.slice(unixPrefix.length))) {
      collector.problem(resource, [...path, 'bind'], 'must be unix://<path>, because the port is 0', bind);
    }
    if (captureMode === 'IPTABLES') {
      collector.problem(resource, [...path, 'captureMode'], 'must be DEFAULT or NONE for a Unix socket', captureMode);
    }
    if (sockets.has(bind)) collector.problem(resource, [...path, 'bind'], 'is there twice', bind);
    sockets.add(bind);
  });
}

function checkHosts(resource: Sidecar, hosts: readonly string[], path: Path, collector: Collector): void {
  const seen = new Map<string, Set<string>>();
  hosts.forEach((text, index) => {
    const at = [...path, index];
    const slash = text.indexOf('/');
    const [given, host] = [text.slice(0, slash), text.slice(slash + 1)];
    // `~` before a namespace takes hosts away from the others.
    const excludes = given.length > 1 && given.startsWith('~');
    const namespace = excludes ? given.slice(1) : given;
    if (slash === -1) {
      collector.problem(resource, at, 'must be <namespace>/<host>', text);
      return;
    }
    if ((excludes || namespace !== '~') && !['*', '.'].includes(namespace) && !isLabel(namespace)) {
      collector.problem(resource, at, 'must begin with a namespace, *, . or ~', text);
    } else if (host !== '*' && !host.includes('.')) {
      collector.problem(resource, at, 'must have a full host name: short names are not completed here', text);
    } else if (!isWildcardDomain(host) || (host.includes('*') && host !== '*' && !host.startsWith('*.'))) {
      collector.problem(resource, at, 'must have a host name, *.<domain> or * after the slash', text);
    } else if (excludes) {
      collector.refuse(resource, at, 'is refused: hosts cannot be excluded here, and would be reachable', text);
    }
    if (excludes) return;
    const own = namespace === '.' ? resource.namespace : namespace;
    const others = seen.get(own) ?? new Set<string>();
    seen.set(own, others);
    if (others.has(host) || others.has('*') || (host === '*' && others.size > 0)) {
      collector.warn(resource, at, 'enforced', 'is there twice, or covered by another entry');
    }
    others.add(host);
  });
  if (seen.get('*')?.has('*') === true && seen.size > 1) {
    collector.warn(resource, path, 'enforced', '*/* covers everything, so the others change nothing');
  }
}
