import { sign, X509Certificate } from 'node:crypto';
import { derBitString, derContext, derSequence, derUnsigned } from '../../src/identity/der-write.ts';
import { commonName, derTime, signatureAlgorithm, type TestAuthority, type TestSigner, toPem } from './certificates.ts';

/** What is in a revocation list. The defaults make a good one that lists nothing. */
export interface TestCrlOptions {
  /** Serial numbers, as bytes. */
  readonly revoked?: readonly Uint8Array[];
  readonly thisUpdate?: number;
  /** `null` leaves it out. */
  readonly nextUpdate?: number | null;
  /** 1 leaves version and extensions out. */
  readonly version?: 1 | 2;
  /** Extensions of the list, DER. */
  readonly extensions?: readonly Uint8Array[];
  /** Extensions of every entry, DER. */
  readonly entryExtensions?: readonly Uint8Array[];
  /** Name of the issuer, when it is to be another than the signer's. */
  readonly issuer?: string;
  /** Algorithm inside of what is signed, DER, when it is to be another. */
  readonly innerAlgorithm?: Uint8Array;
  /** The algorithm inside and outside, DER. */
  readonly algorithm?: Uint8Array;
}

/** A revocation list, DER, signed by `signer`. */
export function makeCrlDer(signer: TestSigner, options: TestCrlOptions = {}): Buffer {
  const { identifier, hash } = signatureAlgorithm(signer.key);
  const algorithm = Buffer.from(options.algorithm ?? identifier);
  const now = Date.now();
  const { revoked = [], nextUpdate = now + 3_600_000, version = 2 } = options;
  const entries = revoked.map((serial) =>
    derSequence(
      derUnsigned(serial),
      derTime(now - 60_000),
      ...(options.entryExtensions === undefined ? [] : [derSequence(...options.entryExtensions.map(Buffer.from))]),
    ),
  );
  const tbs = derSequence(
    ...(version === 2 ? [derUnsigned(Buffer.from([1]))] : []),
    options.innerAlgorithm === undefined ? algorithm : Buffer.from(options.innerAlgorithm),
    commonName(options.issuer ?? signer.name),
    derTime(options.thisUpdate ?? now - 60_000),
    ...(nextUpdate === null ? [] : [derTime(nextUpdate)]),
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
    ...(options.extensions === undefined
      ? []
      : [derContext(0, true, derSequence(...options.extensions.map((extension) => Buffer.from(extension))))]),
  );
  return derSequence(tbs, algorithm, derBitString(sign(hash, tbs, signer.key)));
}

/** A revocation list, PEM. */
export function makeCrl(signer: TestSigner, options: TestCrlOptions = {}): string {
  return toPem(makeCrlDer(signer, options), 'X509 CRL');
}

/** The serial number of the first certificate of a PEM text. */
export function serialOf(pem: string): Buffer {
  return Buffer.from(new X509Certificate(pem).serialNumber, 'hex');
}

/** The lists of all authorities of a trust domain: of the root, and of the intermediate where there is one. */
export function crlsOf(
  authority: TestAuthority,
  revoked: { readonly leaves?: readonly string[]; readonly authorities?: readonly string[] } = {},
): ReadonlyMap<string, readonly string[]> {
  const serials = (pems: readonly string[] = []): Buffer[] => pems.map(serialOf);
  const { root, signer, trustDomain } = authority;
  if (signer === root) {
    return new Map([
      [trustDomain, [makeCrl(root, { revoked: serials([...(revoked.leaves ?? []), ...(revoked.authorities ?? [])]) })]],
    ]);
  }
  const lists = [
    makeCrl(root, { revoked: serials(revoked.authorities) }),
    makeCrl(signer, { revoked: serials(revoked.leaves) }),
  ];
  return new Map([[trustDomain, lists]]);
}
