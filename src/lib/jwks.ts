import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { parseStrictJson } from './strict-json.ts';

/** A public key of a JSON Web Key Set that can verify signatures. */
export interface VerificationKey {
  /** Absent: the key is tried for tokens that name none. */
  readonly kid: string | undefined;
  /** Signature algorithms (RFC 7518 section 3.1, RFC 8037) that this key may verify: fixed by the key, never by a token. */
  readonly algorithms: readonly string[];
  readonly key: KeyObject;
}

/** A key set (RFC 7517) that was read. */
export interface ParsedJwks {
  readonly keys: readonly VerificationKey[];
  /** Why the others verify nothing, in words without the keys: `key 2: is for encryption`. */
  readonly ignored: readonly string[];
}

/** Bounds of {@link parseJwks}. */
export const jwksLimits = {
  /** Longest text of a key set, in characters. */
  maxLength: 1_048_576,
  maxKeys: 100,
  /** Members and elements in all: a key has a dozen. */
  maxValues: 10_000,
  maxKidLength: 1_024,
  /** RSA moduli, in bits: smaller ones are weak (RFC 7518 section 3.3), larger ones cost too much of each request. */
  minModulus: 2_048,
  maxModulus: 8_192,
} as const;

type Members = Readonly<Record<string, unknown>>;

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;
const algorithmsOfCurve: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['P-256', ['ES256']],
  ['P-384', ['ES384']],
  ['P-521', ['ES512']],
  // RFC 8037 says EdDSA, RFC 9864 Ed25519, of one and the same algorithm.
  ['Ed25519', ['EdDSA', 'Ed25519']],
]);
/** Members of private keys (RFC 7518 section 6.3.2, 6.2.2; RFC 8037 section 2) and symmetric ones. */
const secrets = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

/**
 * Reads a JSON Web Key Set for the verification of signatures.
 *
 * Keys of unknown types, curves or algorithms, and keys for other uses, are left out, as RFC 7517
 * section 5 asks for. A set with a private or symmetric key is refused whole: who publishes a
 * secret has lost it, and whatever is signed with it proves nothing. One without a usable key is
 * refused, but where `mayBeEmpty` says that an issuer may take all of its keys back.
 *
 * @throws Error saying what is wrong; never quotes the text
 */
export function parseJwks(text: string, options: { readonly mayBeEmpty?: boolean } = {}): ParsedJwks {
  const { maxKeys, maxLength, maxValues } = jwksLimits;
  let document: unknown;
  try {
    document = parseStrictJson(text, { maxLength, maxDepth: 8, maxValues });
  } catch (error) {
    throw new Error(`the key set cannot be read: ${(error as Error).message}`);
  }
  if (!isMembers(document)) throw new Error('the key set is no object');
  const list = Object.hasOwn(document, 'keys') ? document['keys'] : undefined;
  if (!Array.isArray(list)) throw new Error('the key set has no list of keys');
  if (list.length > maxKeys) throw new Error(`the key set has ${list.length} keys, ${maxKeys} are allowed`);
  const keys: VerificationKey[] = [];
  const ignored: string[] = [];
  for (const [index, jwk] of list.entries()) {
    const name = `key ${index + 1}`;
    if (!isMembers(jwk)) throw new Error(`${name} is no object`);
    const secret =
      jwk['kty'] === 'oct'
        ? 'a symmetric key'
        : secrets.some((member) => Object.hasOwn(jwk, member))
          ? 'a private key'
          : undefined;
    if (secret !== undefined) throw new Error(`${name} is ${secret}: its secret is known to all who can read the set`);
    const read = readKey(jwk);
    if (typeof read === 'string') ignored.push(`${name}: ${read}`);
    else keys.push(read);
  }
  if (keys.length === 0 && options.mayBeEmpty !== true) {
    throw new Error(
      `the key set has no key that can verify signatures${ignored.length === 0 ? '' : ` (${ignored.slice(0, 5).join('; ')})`}`,
    );
  }
  return { keys, ignored };
}

/** The key, or why it verifies nothing. */
function readKey(jwk: Members): VerificationKey | string {
  const { alg, key_ops: operations, kid, kty, use } = jwk;
  if (use !== undefined && use !== 'sig') return 'its use is not sig';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return 'its key_ops do not allow to verify';
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > jwksLimits.maxKidLength)) {
    return 'its kid is not a text, or too long';
  }
  const able =
    kty === 'RSA' ? rsaAlgorithms : kty === 'EC' || kty === 'OKP' ? algorithmsOfCurve.get(jwk['crv']) : undefined;
  if (able === undefined) return 'its type or curve is not known';
  const algorithms = alg === undefined ? able : able.filter((algorithm) => algorithm === alg);
  if (algorithms.length === 0) return 'its alg is not one of its type';
  let key: KeyObject;
  try {
    key = createPublicKey({ key: publicMembers(jwk), format: 'jwk' });
  } catch {
    return 'its values are not those of a key';
  }
  const weak = kty === 'RSA' ? wrongRsa(key) : undefined;
  return weak ?? { kid, algorithms, key };
}

/** Only what makes the key: nothing else of the document reaches OpenSSL. */
function publicMembers(jwk: Members): JsonWebKey {
  const { crv, e, kty, n, x, y } = jwk;
  const members = Object.entries({ kty, crv, n, e, x, y }).filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(members) as JsonWebKey;
}

function wrongRsa({ asymmetricKeyDetails }: KeyObject): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails ?? {};
  const { maxModulus, minModulus } = jwksLimits;
  if (modulusLength < minModulus || modulusLength > maxModulus) {
    return `its modulus has ${modulusLength} bits, ${minModulus} to ${maxModulus} are allowed`;
  }
  const usual = publicExponent >= 3n && publicExponent % 2n === 1n && publicExponent < 2n ** 33n;
  return usual ? undefined : 'its exponent is even, too small or too large';
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
