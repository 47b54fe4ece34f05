import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import { isTrustDomain } from '../model/spiffe-id.ts';
import { readCertificate } from './certificate.ts';

/** A key that signs JWT-SVIDs. */
export interface JwtAuthority {
  /** `kid`: tokens name the key by it. */
  readonly keyId: string;
  /** RSA, or EC on P-256, P-384 or P-521: what JWT-SVID section 2.1 has algorithms for. */
  readonly publicKey: KeyObject;
}

/** What a trust domain says of itself: its keys, by kind of SVID. Whose it is, is known from elsewhere. */
export interface SpiffeBundle {
  /** Roots of X.509-SVIDs, PEM, each once. None: no X.509-SVID of this trust domain is trusted. */
  readonly x509Authorities: readonly string[];
  /** None: no JWT-SVID of this trust domain is trusted. */
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** `spiffe_sequence`: grows with every change. Up to 64 bits. */
  readonly sequence?: bigint;
  /** `spiffe_refresh_hint`, milliseconds: how often to look again. May be 0; whoever polls has a floor of its own. */
  readonly refreshHintMs?: number;
}

/** A bundle that was read, with what was left aside. */
export interface ParsedSpiffeBundle extends SpiffeBundle {
  /** Entries that the standard says to ignore, and why: `keys[2]: unknown use "wit-svid"`. */
  readonly ignored: readonly string[];
}

/** Longest document, in characters. */
export const maxBundleLength = 2_097_152;
/** Most entries of `keys` in one bundle. */
export const maxBundleKeys = 512;
/** Most trust domains in one bundle map. */
export const maxBundleDomains = 1_024;
const maxDepth = 16;
const maxSequence = 2n ** 64n - 1n;

/**
 * Reads a SPIFFE bundle document, a JWK set (SPIFFE Trust Domain and Bundle, section 4).
 *
 * Entries of an unknown `kty` or `use`, without `use` or `kty`, and X.509 entries without `x5c` are
 * ignored, as the standard demands; of several certificates in `x5c` the first counts (X509-SVID
 * section 6.2). An entry that is meant for us and is malformed refuses the whole document: a key
 * that does not belong to its certificate, a certificate that is no authority, private key
 * material, the same `kid` twice, a name twice in one object.
 *
 * @param what names the document in messages: `bundle of partner.example`
 * @throws MeshError `ERR_MESH_NO_IDENTITY` saying what was expected and what came.
 */
export function parseSpiffeBundle(text: string, what: string): ParsedSpiffeBundle {
  return bundleOf(read(text, what), what);
}

/**
 * Reads a map of trust domains to bundles: `{ "trust_domains": { "example.org": { "keys": […] } } }`
 * (gRFC A87; go-spiffe and `spiffe-helper` write the same). One bad bundle refuses the whole map.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function parseSpiffeBundleMap(text: string, what: string): ReadonlyMap<string, ParsedSpiffeBundle> {
  const domains = objectOf(read(text, what), what)['trust_domains'];
  const entries = Object.entries(objectOf(domains, `${what}: trust_domains`));
  if (entries.length > maxBundleDomains) throw refusal(what, `more than ${maxBundleDomains} trust domains`);
  return new Map(
    entries.map(([domain, bundle]) => {
      if (!isTrustDomain(domain)) throw refusal(what, `${JSON.stringify(domain.slice(0, 100))} is not a trust domain`);
      return [domain, bundleOf(bundle, `${what}: ${domain}`)];
    }),
  );
}

/** Writes a bundle as the document that {@link parseSpiffeBundle} reads. */
export function formatSpiffeBundle(bundle: SpiffeBundle): string {
  const keys = [
    ...bundle.x509Authorities.map((pem) => {
      const certificate = new X509Certificate(pem);
      const jwk = certificate.publicKey.export({ format: 'jwk' });
      return { use: 'x509-svid', ...jwk, x5c: [certificate.raw.toString('base64')] };
    }),
    ...bundle.jwtAuthorities.map(({ keyId, publicKey }) => ({
      use: 'jwt-svid',
      kid: keyId,
      ...publicKey.export({ format: 'jwk' }),
    })),
  ];
  // A sequence has 64 bits, more than a number of JavaScript keeps.
  const sequence = bundle.sequence === undefined ? '' : `"spiffe_sequence":${bundle.sequence},`;
  const hint =
    bundle.refreshHintMs === undefined ? '' : `"spiffe_refresh_hint":${Math.ceil(bundle.refreshHintMs / 1_000)},`;
  return `{${sequence}${hint}"keys":${JSON.stringify(keys)}}`;
}

function refusal(what: string, reason: string, cause?: unknown): MeshError {
  return new MeshError('ERR_MESH_NO_IDENTITY', `${what}: ${reason}`, { cause });
}

function read(text: string, what: string): unknown {
  try {
    return parseStrictJson(text, { maxLength: maxBundleLength, maxDepth });
  } catch (cause) {
    throw refusal(what, `a SPIFFE bundle is expected: ${(cause as Error).message}`);
  }
}

type Fields = Readonly<Record<string, unknown>>;

function objectOf(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw refusal(what, `expected an object, found ${kindOf(value)}`);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : value === null ? 'null' : `a ${typeof value}`;
}

function bundleOf(value: unknown, what: string): ParsedSpiffeBundle {
  const { keys, spiffe_sequence: sequence, spiffe_refresh_hint: hint } = objectOf(value, what);
  if (!Array.isArray(keys)) throw refusal(what, `keys must be a list, found ${kindOf(keys)}`);
  if (keys.length > maxBundleKeys) throw refusal(what, `more than ${maxBundleKeys} keys`);
  const ignored: string[] = [];
  const roots = new Set<string>();
  const jwt = new Map<string, JwtAuthority>();
  keys.forEach((entry: unknown, i) => {
    const place = `keys[${i}]`;
    const outcome = entryOf(entry, `${what}: ${place}`);
    if ('ignored' in outcome) ignored.push(`${place}: ${outcome.ignored}`);
    else if ('pem' in outcome) {
      roots.add(outcome.pem);
      if (outcome.note !== undefined) ignored.push(`${place}: ${outcome.note}`);
    } else if (jwt.has(outcome.keyId)) throw refusal(what, `${place}: the kid of another entry, once more`);
    else jwt.set(outcome.keyId, outcome);
  });
  return {
    x509Authorities: [...roots],
    jwtAuthorities: [...jwt.values()],
    ...(sequence === undefined ? {} : { sequence: sequenceOf(sequence, what) }),
    ...(hint === undefined ? {} : { refreshHintMs: hintOf(hint, what) }),
    ignored,
  };
}

function sequenceOf(value: unknown, what: string): bigint {
  const number = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof number === 'bigint' && number >= 0n && number <= maxSequence) return number;
  throw refusal(what, `spiffe_sequence must be an integer from 0 to 2^64-1, found ${kindOf(value)}`);
}

function hintOf(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value * 1_000) && value >= 0 && Number.isInteger(value)) {
    return value * 1_000;
  }
  throw refusal(what, `spiffe_refresh_hint must be a number of whole seconds, found ${kindOf(value)}`);
}

type Entry = { readonly ignored: string } | { readonly pem: string; readonly note?: string } | JwtAuthority;

/** Curves by key type; what is not here is a key type that is not known. RSA has none. */
const curves: Readonly<Record<string, readonly (string | undefined)[]>> = {
  RSA: [undefined],
  EC: ['P-256', 'P-384', 'P-521'],
  OKP: ['Ed25519', 'Ed448'],
};
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

function entryOf(value: unknown, what: string): Entry {
  const jwk = objectOf(value, what);
  const { kty, use, crv, x5c, kid } = jwk;
  if (use !== 'x509-svid' && use !== 'jwt-svid') return { ignored: unknown('use', use) };
  const known = typeof kty === 'string' && Object.hasOwn(curves, kty) ? curves[kty] : undefined;
  if (known === undefined) return { ignored: unknown('kty', kty) };
  if (!known.includes(crv as string | undefined)) return { ignored: unknown('crv', crv) };
  if (privateMembers.some((name) => name in jwk)) throw refusal(what, 'a private key, which has no place in a bundle');
  if (use === 'jwt-svid') {
    if (kty === 'OKP') return { ignored: 'kty "OKP" signs no JWT-SVID' };
    if (typeof kid !== 'string' || kid === '') return { ignored: 'no kid by which a token could name it' };
    return { keyId: kid, publicKey: publicKeyOf(jwk, what) };
  }
  if (x5c === undefined || (Array.isArray(x5c) && x5c.length === 0)) return { ignored: 'no x5c' };
  if (!Array.isArray(x5c)) throw refusal(what, `x5c must be a list, found ${kindOf(x5c)}`);
  const pem = authorityOf(x5c[0], publicKeyOf(jwk, what), what);
  return x5c.length === 1 ? { pem } : { pem, note: `x5c has ${x5c.length} certificates, the first one counts` };
}

function unknown(name: string, value: unknown): string {
  return value === undefined ? `no ${name}` : `unknown ${name} ${(JSON.stringify(value) ?? '').slice(0, 40)}`;
}

function publicKeyOf({ kty, crv, x, y, n, e }: Fields, what: string): KeyObject {
  try {
    return createPublicKey({ key: { kty, crv, x, y, n, e } as never, format: 'jwk' });
  } catch (cause) {
    throw refusal(what, `the ${String(kty)} key cannot be read`, cause);
  }
}

function authorityOf(base64: unknown, publicKey: KeyObject, what: string): string {
  const der = typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined;
  // RFC 7517 section 4.7: plain base64 with padding. What Buffer skips in silence is no certificate.
  if (der === undefined || der.toString('base64') !== base64) throw refusal(what, 'x5c[0] is not base64 (RFC 4648, 4)');
  let certificate: X509Certificate;
  try {
    if (!readCertificate(der).ca) throw refusal(what, 'the certificate is not that of an authority (cA is false)');
    certificate = new X509Certificate(der);
  } catch (cause) {
    if (cause instanceof MeshError && cause.code === 'ERR_MESH_NO_IDENTITY') throw cause;
    throw refusal(what, 'the certificate in x5c[0] cannot be read', cause);
  }
  if (certificate.publicKey.equals(publicKey)) return certificate.toString();
  throw refusal(what, 'the key is not that of the certificate in x5c[0] (RFC 7517, 4.7)');
}
