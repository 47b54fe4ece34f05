import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isFqdn } from './host-syntax.ts';
import { checkLocality, checkZones } from './locality-check.ts';
import type { Resource } from './resource.ts';
import type {
  ConnectionPoolSpec,
  ConsistentHashSpec,
  LoadBalancerSpec,
  OutlierSpec,
  PolicyParts,
  TlsSpec,
  TrafficPolicy,
} from './traffic-policy-spec.ts';
import { isIpAddress } from './values.ts';

/** Checks what the field table cannot say, as Istio's webhook does. */
export function checkTrafficPolicy(
  resource: Resource,
  policy: TrafficPolicy | undefined,
  path: Path,
  collector: Collector,
): void {
  if (policy === undefined) return;
  const { portLevelSettings = [], tunnel, proxyProtocol, retryBudget } = policy;
  const others = [tunnel, proxyProtocol, retryBudget].some((part) => part !== undefined);
  if (!hasParts(policy) && !others && portLevelSettings.length === 0) {
    collector.problem(resource, path, 'must have at least one field');
  }
  if (tunnel !== undefined && proxyProtocol !== undefined) {
    collector.problem(resource, path, 'may have only one of tunnel and proxyProtocol');
  }
  checkParts(resource, policy, path, collector);
  if (tunnel !== undefined) checkTunnel(resource, tunnel, [...path, 'tunnel'], collector);
  const ports = new Set<number>();
  portLevelSettings.forEach((settings, index) => {
    const at = [...path, 'portLevelSettings', index];
    const { number = 0 } = settings.port;
    if (!hasParts(settings)) collector.problem(resource, at, 'must have at least one field beside port');
    if (ports.has(number)) {
      collector.warn(resource, at, 'ignored', `there are settings for port ${number} before, and the first count`);
    } else if (number < 1 || number > 65_535) {
      collector.warn(resource, [...at, 'port'], 'ignored', `no service has a port ${number}`);
    }
    ports.add(number);
    checkParts(resource, settings, at, collector);
  });
}

function hasParts({ loadBalancer, connectionPool, outlierDetection, tls }: PolicyParts): boolean {
  return [loadBalancer, connectionPool, outlierDetection, tls].some((part) => part !== undefined);
}

function checkParts(resource: Resource, parts: PolicyParts, path: Path, collector: Collector): void {
  const { loadBalancer, connectionPool, outlierDetection, tls } = parts;
  const check = checkOf(resource, collector);
  if (outlierDetection !== undefined) checkOutlier(check, outlierDetection, [...path, 'outlierDetection']);
  if (connectionPool !== undefined) {
    checkConnectionPool(resource, connectionPool, [...path, 'connectionPool'], collector);
  }
  if (loadBalancer !== undefined) {
    checkLoadBalancer(check, loadBalancer, outlierDetection !== undefined, [...path, 'loadBalancer']);
  }
  if (tls !== undefined) checkTls(check, tls, [...path, 'tls']);
}

/** Says what is wrong with one resource. */
interface Check {
  readonly resource: Resource;
  readonly collector: Collector;
  problem(path: Path, message: string, ...value: readonly unknown[]): void;
  ignored(path: Path, note: string): void;
  /** Accepted and carried out, but the author should know. */
  note(path: Path, note: string): void;
}

function checkOf(resource: Resource, collector: Collector): Check {
  return {
    resource,
    collector,
    problem: (path, message, ...value) => collector.problem(resource, path, message, ...value),
    ignored: (path, note) => collector.warn(resource, path, 'ignored', note),
    note: (path, note) => collector.warn(resource, path, 'enforced', note),
  };
}

function checkTunnel(
  resource: Resource,
  { protocol, targetHost, targetPort }: NonNullable<TrafficPolicy['tunnel']>,
  path: Path,
  collector: Collector,
): void {
  if (protocol !== undefined && !['', 'CONNECT', 'POST'].includes(protocol)) {
    collector.problem(resource, [...path, 'protocol'], 'must be CONNECT or POST', protocol);
  }
  if (!isFqdn(targetHost) && !isIpAddress(targetHost)) {
    collector.problem(resource, [...path, 'targetHost'], 'must be a host name or an IP address', targetHost);
  }
  if (targetPort < 1 || targetPort > 65_535) {
    collector.problem(resource, [...path, 'targetPort'], 'must be a port from 1 to 65535', targetPort);
  }
}

function checkOutlier(check: Check, spec: OutlierSpec, path: Path): void {
  if ((spec.consecutiveLocalOriginFailures ?? 0) > 0 && spec.splitExternalLocalOriginErrors !== true) {
    const message = 'needs splitExternalLocalOriginErrors: true';
    check.problem([...path, 'consecutiveLocalOriginFailures'], message, spec.consecutiveLocalOriginFailures);
  }
}

/** Istio `ConnectionPoolSettings`; a Sidecar has them too. */
export function checkConnectionPool(
  resource: Resource,
  { tcp, http }: ConnectionPoolSpec,
  path: Path,
  collector: Collector,
): void {
  if (tcp === undefined && http === undefined)
    collector.problem(resource, path, 'must have at least one of tcp and http');
  if (http?.h2UpgradePolicy === 'UPGRADE' && http.useClientProtocol === true) {
    const message = 'must not be true when h2UpgradePolicy is UPGRADE';
    collector.problem(resource, [...path, 'http', 'useClientProtocol'], message, true);
  }
  const keepAlive = http?.http2KeepAlive;
  if (keepAlive === undefined) return;
  for (const name of ['interval', 'timeout'] as const) {
    if (keepAlive[name] !== undefined) continue;
    collector.problem(resource, [...path, 'http', 'http2KeepAlive'], `needs the field ${name}`);
  }
}

function checkLoadBalancer(check: Check, spec: LoadBalancerSpec, outlier: boolean, path: Path): void {
  const { resource, collector } = check;
  if (spec.consistentHash !== undefined) checkHash(check, spec.consistentHash, [...path, 'consistentHash']);
  for (const name of ['warmup', 'warmupDurationSecs'] as const) {
    if (spec[name] === undefined) continue;
    if (spec.consistentHash !== undefined) check.ignored([...path, name], 'a consistent hash has no warm-up');
    else if (spec.simple === 'RANDOM' || spec.simple === 'PASSTHROUGH') {
      check.ignored([...path, name], `${spec.simple} has no warm-up`);
    }
  }
  if (spec.localityLbSetting !== undefined) {
    checkLocality(resource, spec.localityLbSetting, outlier, [...path, 'localityLbSetting'], collector);
  }
  if (spec.zoneAwareLbSetting === undefined) return;
  checkZones(resource, spec.zoneAwareLbSetting, outlier, [...path, 'zoneAwareLbSetting'], collector);
  if (spec.localityLbSetting === undefined) return;
  check.problem(path, 'may have only one of localityLbSetting and zoneAwareLbSetting');
}

const hashKeys = ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'] as const;

function checkHash(check: Check, spec: ConsistentHashSpec, path: Path): void {
  const keys = hashKeys.filter((key) => spec[key] !== undefined);
  if (keys.length > 1) check.problem(path, `may have only one of ${keys.join(' and ')}`);
  if (spec.httpCookie !== undefined) checkCookie(check, spec.httpCookie, [...path, 'httpCookie']);
  const { maglev, ringHash, minimumRingSize = 0 } = spec;
  if (maglev !== undefined && ringHash !== undefined) check.problem(path, 'may have only one of ringHash and maglev');
  if (minimumRingSize !== 0) {
    if (maglev !== undefined || ringHash !== undefined) {
      check.problem([...path, 'minimumRingSize'], 'must be absent where there is ringHash or maglev', minimumRingSize);
    }
    check.note([...path, 'minimumRingSize'], 'is deprecated; use ringHash.minimumRingSize');
  }
  for (const [at, size = 0] of [
    [['minimumRingSize'], minimumRingSize],
    [['ringHash', 'minimumRingSize'], ringHash?.minimumRingSize],
  ] as const) {
    // Istio lets it pass, and Envoy refuses the cluster.
    if (size > maxRingSize)
      check.collector.refuse(check.resource, [...path, ...at], `must be at most ${maxRingSize}`, size);
  }
  const { tableSize = 0 } = maglev ?? {};
  if (maglev === undefined || (isPrime(tableSize) && tableSize < maxTableSize)) return;
  check.problem([...path, 'maglev', 'tableSize'], `must be a prime number below ${maxTableSize}`, tableSize);
}

function checkCookie(check: Check, cookie: NonNullable<ConsistentHashSpec['httpCookie']>, path: Path): void {
  if (cookie.name === '') check.problem([...path, 'name'], 'must not be empty', '');
  const names = new Set<string>();
  cookie.attributes?.forEach(({ name }, index) => {
    const at = [...path, 'attributes', index, 'name'];
    if (name === '') check.problem(at, 'must not be empty', '');
    else if (names.has(name)) check.problem(at, 'is there twice', name);
    names.add(name);
  });
}

const maxRingSize = 8_388_608;
const maxTableSize = 5_000_011;

function isPrime(size: number): boolean {
  // 1 counts, as for Envoy.
  if (size < 4) return size > 0;
  if (size % 2 === 0 || size >= maxTableSize) return false;
  for (let factor = 3; factor * factor <= size; factor += 2) if (size % factor === 0) return false;
  return true;
}

function checkTls(check: Check, tls: TlsSpec, path: Path): void {
  const { mode, credentialName = '', insecureSkipVerify = false } = tls;
  if (credentialName.startsWith(configMap)) checkConfigMap(check, credentialName, [...path, 'credentialName']);
  const given = (names: readonly (keyof TlsSpec)[]): readonly (keyof TlsSpec)[] =>
    names.filter((name) => isSet(tls[name]));
  if (mode === undefined || mode === 'DISABLE') {
    const useless = given([...files, 'credentialName', 'subjectAltNames', 'sni', 'insecureSkipVerify']);
    if (mode === undefined) check.note(path, 'has no mode, which means DISABLE: connections are plaintext');
    for (const name of useless) check.ignored([...path, name], 'connections are plaintext (DISABLE)');
    return;
  }
  if (mode === 'ISTIO_MUTUAL') {
    const why = 'ISTIO_MUTUAL takes certificates from the identity of this process, and always verifies';
    for (const name of given([...files, 'credentialName', 'insecureSkipVerify'])) check.ignored([...path, name], why);
    tls.subjectAltNames?.forEach((name, index) => {
      if (name.startsWith('spiffe://')) return;
      check.note(
        [...path, 'subjectAltNames', index],
        'is no SPIFFE ID, and certificates of the mesh have no other name',
      );
    });
    return;
  }
  if (insecureSkipVerify) {
    // With MUTUAL the secret may be there for the client certificate alone.
    const forbidden = given(['caCertificates', 'subjectAltNames', ...(mode === 'SIMPLE' ? credential : [])]);
    for (const name of forbidden)
      check.problem([...path, name], 'must be absent when insecureSkipVerify is true', tls[name]);
    check.note([...path, 'insecureSkipVerify'], 'any server can pretend to be this one');
  }
  if (credentialName !== '') {
    for (const name of given(files))
      check.problem([...path, name], 'must be absent when there is a credentialName', tls[name]);
    const message = 'there are no Kubernetes secrets here: calls answer 503';
    check.collector.warn(check.resource, [...path, 'credentialName'], 'approximated', message);
    return;
  }
  if (mode === 'SIMPLE') {
    for (const name of given(['clientCertificate', 'privateKey'])) {
      check.ignored([...path, name], 'with SIMPLE no certificate is shown; use MUTUAL');
    }
    return;
  }
  for (const name of ['clientCertificate', 'privateKey'] as const) {
    if (!isSet(tls[name])) check.problem(path, `needs the field ${name}, because mode is MUTUAL`);
  }
}

const configMap = 'configmap://';

function checkConfigMap(check: Check, credentialName: string, path: Path): void {
  const [namespace, name = ''] = credentialName.slice(configMap.length).split('/');
  if (namespace === check.resource.namespace && name !== '') return;
  check.problem(path, `must be ${configMap}${check.resource.namespace}/<name>`, credentialName);
}

const files = ['clientCertificate', 'privateKey', 'caCertificates', 'caCrl'] as const;
const credential = ['credentialName'] as const;

function isSet(value: TlsSpec[keyof TlsSpec]): boolean {
  return value !== undefined && value !== '' && value !== false && (typeof value !== 'object' || value.length > 0);
}
