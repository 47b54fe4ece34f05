import {
  type Clock,
  isTrustDomain,
  type Logger,
  MeshError,
  silentLogger,
  systemClock,
  type TrustBundles,
} from 'inmesh/identity';
import { type KeyType, keyTypes } from './key-type.ts';

/** Options of an authority. */
export interface AuthorityOptions {
  /** Default `cluster.local`. Of a folder that holds an authority already, it must be the same. */
  readonly trustDomain?: string;
  /** Life of workload certificates, milliseconds. Default one hour, at least a second, at most 24 hours. */
  readonly leafTtlMs?: number;
  /** Kind of the keys of roots and intermediates that are made. Default `p-256`; a folder remembers it. */
  readonly keyType?: KeyType;
  /**
   * Binds intermediates that are made to the trust domain (RFC 5280 name constraints, critical).
   * Default true; a folder remembers it. Node, OpenSSL, Envoy and Go check them; rustls-webpki from
   * 0.103.12 (Linkerd's proxy, ztunnel) refuses every chain that has them, so switch them off there.
   */
  readonly nameConstraints?: boolean;
  /** Encrypts the keys on disk. */
  readonly passphrase?: string;
  /** Further roots (PEM) to hand out in the trust bundle: the old or the next one while roots are exchanged. */
  readonly extraRoots?: string;
  /** Refuse a key that was certified for another identity before. Default true. */
  readonly refuseKeyReuse?: boolean;
  /**
   * Roots of other trust domains to hand out, and further ones of the own. The same object until
   * they change; the authority looks at it in `refresh()`.
   */
  readonly federated?: () => TrustBundles;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** Options with their defaults. */
export interface AuthoritySettings {
  readonly trustDomain: string;
  readonly leafTtlMs: number;
  readonly keyType: KeyType;
  readonly nameConstraints: boolean;
  readonly passphrase: string | undefined;
  readonly extraRoots: string | undefined;
  readonly refuseKeyReuse: boolean;
  readonly federated: () => TrustBundles;
  readonly clock: Clock;
  readonly logger: Logger;
}

const none: TrustBundles = new Map();
const maxLeafTtlMs = 86_400_000;

/** What the folder of an authority remembers of its options. */
export interface RememberedOptions {
  readonly trustDomain?: string;
  readonly leafTtlMs?: number;
  readonly keyType?: string;
  readonly nameConstraints?: boolean;
}

/** Fills in the defaults: those given, then those that a folder remembers. */
export function resolveOptions(options: AuthorityOptions, remembered: RememberedOptions = {}): AuthoritySettings {
  const trustDomain = options.trustDomain ?? remembered.trustDomain ?? 'cluster.local';
  if (remembered.trustDomain !== undefined && trustDomain !== remembered.trustDomain) {
    throw invalid('trustDomain', `the folder holds an authority of ${remembered.trustDomain}`, trustDomain);
  }
  if (!isTrustDomain(trustDomain)) {
    throw invalid('trustDomain', 'expected up to 255 of a-z, 0-9, dot, dash and underscore', trustDomain);
  }
  const leafTtlMs = options.leafTtlMs ?? remembered.leafTtlMs ?? 3_600_000;
  checkRange('leafTtlMs', leafTtlMs, 1_000, maxLeafTtlMs);
  if (options.passphrase === '') throw invalid('passphrase', 'expected some text');
  return {
    trustDomain,
    leafTtlMs,
    keyType: checkKeyType(options.keyType ?? remembered.keyType ?? 'p-256'),
    nameConstraints: options.nameConstraints ?? remembered.nameConstraints ?? true,
    passphrase: options.passphrase,
    extraRoots: options.extraRoots,
    refuseKeyReuse: options.refuseKeyReuse ?? true,
    federated: options.federated ?? (() => none),
    clock: options.clock ?? systemClock,
    logger: options.logger ?? silentLogger,
  };
}

/** The key type that a text names. @throws MeshError `ERR_MESH_OPTION_INVALID` */
export function checkKeyType(text: string): KeyType {
  const found = keyTypes.find((type) => type === text);
  if (found === undefined) throw invalid('keyType', `expected one of ${keyTypes.join(', ')}`, text);
  return found;
}

/** Refuses a number outside of its range, or something else. */
export function checkRange(option: string, value: number, least: number, most: number): void {
  if (!Number.isFinite(value) || value < least || value > most) {
    throw invalid(option, `expected ${least} to ${most}`, value);
  }
}

/** What a wrong option is reported as. */
export function invalid(option: string, reason: string, value?: unknown): MeshError {
  const given = value === undefined ? '' : `, not ${JSON.stringify(value)?.slice(0, 200)}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', `certificate authority: ${option}: ${reason}${given}`);
}
