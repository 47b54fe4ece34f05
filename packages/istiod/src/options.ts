import { isIP } from 'node:net';
import {
  type Clock,
  isTrustDomain,
  type OptionNames,
  parseSpiffeId,
  type Random,
  refuseUnknownOptions,
  systemClock,
  systemRandom,
} from 'inmesh/identity';
import { type Environment, type IstiodKeyType, invalid, istiodKeyTypes, readEnvironment } from './environment.ts';

/**
 * Options of {@link istiodSource}. In a pod with the usual mounts none is needed: what is left out
 * comes from the variables that istio-agent has, and then from the defaults.
 */
export interface IstiodSourceOptions {
  /** Where istiod is: `host:port`. `CA_ADDR`, else `istiod.istio-system.svc:15012`. */
  readonly address?: string;
  /**
   * DNS name that istiod's certificate must have. Default: the host of the address;
   * `istiod.istio-system.svc` where that is localhost, as with istio-agent. `ISTIOD_SAN`.
   */
  readonly serverName?: string;
  /**
   * Root that istiod's certificate must chain to: PEM, or the path of a PEM file, read anew for
   * every try. `CA_ROOT_CA`, else the config map `istio-ca-root-cert` where it is usually mounted,
   * `/var/run/secrets/istio/root-cert.pem`.
   */
  readonly trustRoot?: string;
  /** File with the token, read anew for every try. Default `/var/run/secrets/tokens/istio-token`. */
  readonly tokenFile?: string;
  /** Who this process must be. `TRUST_DOMAIN`, `POD_NAMESPACE` and `SERVICE_ACCOUNT`, else what the token says. */
  readonly spiffeId?: string;
  /** Cluster whose API server made the token. `ISTIO_META_CLUSTER_ID`, else `Kubernetes`. */
  readonly clusterId?: string;
  /** Signer of a registration authority, where istiod is one. `ISTIO_META_CERT_SIGNER`. */
  readonly certSigner?: string;
  /** Kind of key. `ECC_CURVE`, `WORKLOAD_RSA_KEY_SIZE`, else `p-256`. */
  readonly keyType?: IstiodKeyType;
  /** Life to ask for, milliseconds. `SECRET_TTL`, else 24 hours; istiod refuses more than 90 days. */
  readonly ttlMs?: number;
  /** Share of its life that a certificate has left when it is renewed. `SECRET_GRACE_PERIOD_RATIO`, else 0.5. */
  readonly graceRatio?: number;
  /** How far that share is moved at random, up or down. `SECRET_GRACE_PERIOD_RATIO_JITTER`, else 0.01. */
  readonly graceRatioJitter?: number;
  /**
   * Further roots by trust domain: PEM, or paths of PEM files, looked at every ten seconds. What
   * `caCertificates` of MeshConfig gives to sidecars.
   */
  readonly extraRoots?: Readonly<Record<string, string>>;
  /** Time for one try, milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** Default `process.env`. */
  readonly env?: Environment;
  readonly clock?: Clock;
  readonly random?: Random;
}

const optionNames: OptionNames<IstiodSourceOptions> = {
  address: true,
  serverName: true,
  trustRoot: true,
  tokenFile: true,
  spiffeId: true,
  clusterId: true,
  certSigner: true,
  keyType: true,
  ttlMs: true,
  graceRatio: true,
  graceRatioJitter: true,
  extraRoots: true,
  timeoutMs: true,
  env: true,
  clock: true,
  random: true,
};

/** Options with variables and defaults filled in. */
export interface IstiodSettings {
  readonly address: string;
  readonly serverName: string;
  readonly trustRoot: string;
  readonly tokenFile: string;
  readonly spiffeId: string | undefined;
  /** For an ID that the token gives. */
  readonly trustDomain: string;
  readonly namespace: string | undefined;
  readonly serviceAccount: string | undefined;
  readonly clusterId: string;
  readonly certSigner: string | undefined;
  readonly keyType: IstiodKeyType;
  readonly ttlMs: number;
  readonly graceRatio: number;
  readonly graceRatioJitter: number;
  readonly extraRoots: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` naming the option or the variable */
export function resolveSettings(options: IstiodSourceOptions): IstiodSettings {
  refuseUnknownOptions('istiodSource', options, optionNames);
  const pod = readEnvironment(options.env ?? process.env);
  const address = options.address ?? pod.address ?? 'istiod.istio-system.svc:15012';
  const host = hostOf(address);
  const settings: IstiodSettings = {
    address,
    serverName: options.serverName ?? (options.address === undefined ? pod.serverName : undefined) ?? nameOf(host),
    trustRoot: options.trustRoot ?? pod.rootFile ?? '/var/run/secrets/istio/root-cert.pem',
    tokenFile: options.tokenFile ?? '/var/run/secrets/tokens/istio-token',
    spiffeId: options.spiffeId,
    trustDomain: pod.trustDomain ?? 'cluster.local',
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    clusterId: options.clusterId ?? pod.clusterId ?? 'Kubernetes',
    certSigner: options.certSigner ?? pod.certSigner,
    keyType: options.keyType ?? pod.keyType ?? 'p-256',
    ttlMs: options.ttlMs ?? pod.ttlMs ?? 86_400_000,
    graceRatio: options.graceRatio ?? pod.graceRatio ?? 0.5,
    graceRatioJitter: options.graceRatioJitter ?? pod.graceRatioJitter ?? 0.01,
    extraRoots: options.extraRoots ?? {},
    timeoutMs: options.timeoutMs ?? 10_000,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
  };
  check(settings);
  return settings;
}

function check(settings: IstiodSettings): void {
  const { clusterId, extraRoots, graceRatio, graceRatioJitter, keyType, serverName, ttlMs } = settings;
  if (settings.trustRoot === '') throw invalid('trustRoot', 'expected PEM, or the path of a file');
  // What the machine trusts is not what the mesh trusts: any of a hundred authorities could be istiod.
  if (settings.trustRoot === 'SYSTEM') throw invalid('trustRoot', 'the roots of the system are not supported');
  if (isIP(serverName) !== 0)
    throw invalid('serverName', 'istiod has no address in its certificate; name it', serverName);
  if (settings.spiffeId !== undefined && !isSpiffeId(settings.spiffeId)) {
    throw invalid('spiffeId', 'expected spiffe://<trust domain>/<path>', settings.spiffeId);
  }
  if (!isTrustDomain(settings.trustDomain)) {
    throw invalid('TRUST_DOMAIN', 'expected a trust domain', settings.trustDomain);
  }
  if (!/^[\x21-\x7e]+$/.test(clusterId)) throw invalid('clusterId', 'expected a name without spaces', clusterId);
  if (!istiodKeyTypes.includes(keyType))
    throw invalid('keyType', `expected one of ${istiodKeyTypes.join(', ')}`, keyType);
  if (!(ttlMs >= 1_000 && ttlMs <= 7_776_000_000)) throw invalid('ttlMs', 'expected a second to 90 days', ttlMs);
  if (!(graceRatio > 0 && graceRatio < 1))
    throw invalid('graceRatio', 'expected more than 0 and less than 1', graceRatio);
  if (!(graceRatioJitter >= 0 && graceRatioJitter < 1)) {
    throw invalid('graceRatioJitter', 'expected 0 or more and less than 1', graceRatioJitter);
  }
  if (!(settings.timeoutMs > 0)) throw invalid('timeoutMs', 'expected more than 0', settings.timeoutMs);
  for (const domain of Object.keys(extraRoots)) {
    if (!isTrustDomain(domain)) throw invalid('extraRoots', 'expected a trust domain', domain);
  }
}

function isSpiffeId(text: string): boolean {
  try {
    return parseSpiffeId(text).path !== '';
  } catch {
    return false;
  }
}

function hostOf(address: string): string {
  const found = /^(\[[0-9a-fA-F:.]+\]|[^\s:/?#@]+):(\d{1,5})$/.exec(address);
  const port = Number(found?.[2]);
  if (found === null || port < 1 || port > 65_535) throw invalid('address', 'expected host:port', address);
  return (found[1] as string).replace(/^\[|\]$/g, '');
}

/** istio-agent does the same, for a port that is forwarded. */
function nameOf(host: string): string {
  return host === 'localhost' ? 'istiod.istio-system.svc' : host;
}
