import { MeshError } from 'inmesh/identity';

/** Variables of a process, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a pod's environment says, in the variables that istio-agent has. All optional. */
export interface PodSettings {
  /** `CA_ADDR`. */
  readonly address?: string;
  /** `ISTIOD_SAN`; counts only without `CA_ADDR`, as with istio-agent. */
  readonly serverName?: string;
  /** `ISTIO_META_CLUSTER_ID`. */
  readonly clusterId?: string;
  /** `ISTIO_META_CERT_SIGNER`. */
  readonly certSigner?: string;
  /** `CA_ROOT_CA`. */
  readonly rootFile?: string;
  readonly trustDomain?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** `SECRET_TTL`. */
  readonly ttlMs?: number;
  /** `SECRET_GRACE_PERIOD_RATIO`. */
  readonly graceRatio?: number;
  /** `SECRET_GRACE_PERIOD_RATIO_JITTER`. */
  readonly graceRatioJitter?: number;
  readonly keyType?: IstiodKeyType;
}

/** Kinds of keys that istiod signs and that this package makes. */
export const istiodKeyTypes = ['p-256', 'p-384', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const;
export type IstiodKeyType = (typeof istiodKeyTypes)[number];

/** @throws MeshError `ERR_MESH_OPTION_INVALID` naming the variable */
export function readEnvironment(env: Environment): PodSettings {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const number = (name: string): number | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    if (!/^\d*\.?\d+$/.test(value)) throw invalid(name, 'expected a number', value);
    return Number(value);
  };
  const ttl = text('SECRET_TTL');
  const all: { readonly [Name in keyof PodSettings]: PodSettings[Name] | undefined } = {
    address: text('CA_ADDR'),
    serverName: text('CA_ADDR') === undefined ? text('ISTIOD_SAN') : undefined,
    clusterId: text('ISTIO_META_CLUSTER_ID'),
    certSigner: text('ISTIO_META_CERT_SIGNER'),
    rootFile: text('CA_ROOT_CA'),
    trustDomain: text('TRUST_DOMAIN'),
    namespace: text('POD_NAMESPACE'),
    serviceAccount: text('SERVICE_ACCOUNT'),
    ttlMs: ttl === undefined ? undefined : readDuration('SECRET_TTL', ttl),
    graceRatio: number('SECRET_GRACE_PERIOD_RATIO'),
    graceRatioJitter: number('SECRET_GRACE_PERIOD_RATIO_JITTER'),
    keyType: readKeyType(text('ECC_SIGNATURE_ALGORITHM'), text('ECC_CURVE'), text('WORKLOAD_RSA_KEY_SIZE')),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** A duration as Go writes it: `24h0m0s`, `1.5h`. */
function readDuration(name: string, text: string): number {
  const parts = [...text.matchAll(/(\d*\.?\d+)(h|ms|m|s)/gy)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text) {
    throw invalid(name, 'expected a duration such as 24h or 1h30m', text);
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (unitsMs[unit as string] as number), 0);
}

/**
 * istio-agent makes RSA keys unless it is told ECDSA. Here it is P-256 unless RSA is asked for by
 * its size: istiod signs both, and P-256 is quicker to make and to shake hands with.
 */
function readKeyType(algorithm?: string, curve = 'P256', rsaSize?: string): IstiodKeyType | undefined {
  if (algorithm === 'ECDSA') {
    const found = ({ P256: 'p-256', P384: 'p-384' } as const)[curve];
    if (found === undefined) throw invalid('ECC_CURVE', 'expected P256 or P384', curve);
    return found;
  }
  if (algorithm !== undefined) throw invalid('ECC_SIGNATURE_ALGORITHM', 'expected ECDSA', algorithm);
  if (rsaSize === undefined) return undefined;
  const found = istiodKeyTypes.find((type) => type === `rsa-${rsaSize}`);
  if (found === undefined) throw invalid('WORKLOAD_RSA_KEY_SIZE', 'expected 2048, 3072 or 4096', rsaSize);
  return found;
}

/** What a wrong option or variable is reported as. */
export function invalid(option: string, reason: string, value?: unknown): MeshError {
  const given = value === undefined ? '' : `, not ${JSON.stringify(value)?.slice(0, 200)}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', `istiodSource: ${option}: ${reason}${given}`);
}
