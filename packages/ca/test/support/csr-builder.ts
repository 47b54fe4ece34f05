import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import {
  derBitString,
  derContext,
  derOid,
  derSequence,
  derSet,
  derUnsigned,
} from '../../../../src/identity/der-write.ts';
import { makeKey, testExtension, toPem } from '../../../../test/support/certificates.ts';

/** What goes into a request; the defaults make a good one that asks for nothing. */
export interface CsrParts {
  readonly key?: KeyObject;
  /** SubjectPublicKeyInfo; default that of `key`. */
  readonly publicKey?: Buffer;
  readonly version?: number;
  /** `undefined` leaves the whole field out. */
  readonly attributes?: readonly Uint8Array[] | undefined;
  /** Further fields after the attributes. */
  readonly more?: readonly Uint8Array[];
  /** OID of the signature algorithm; default that of `key`. */
  readonly algorithm?: string;
}

/** A certificate request, DER, good or hostile. */
export function csrOf(parts: CsrParts): Buffer {
  const key = parts.key ?? makeKey();
  const attributes = 'attributes' in parts ? parts.attributes : [];
  const information = derSequence(
    derUnsigned(Buffer.from([parts.version ?? 0])),
    derSequence(),
    parts.publicKey ?? publicKeyOf(key),
    ...(attributes === undefined ? [] : [derContext(0, true, ...attributes)]),
    ...(parts.more ?? []),
  );
  const { oid, hash } = algorithmOf(key);
  return derSequence(
    information,
    derSequence(derOid(parts.algorithm ?? oid)),
    derBitString(sign(hash, information, key)),
  );
}

/** SubjectPublicKeyInfo, DER. */
export function publicKeyOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

function algorithmOf(key: KeyObject): { readonly oid: string; readonly hash: string | null } {
  if (key.asymmetricKeyType === 'ec') return { oid: '1.2.840.10045.4.3.2', hash: 'sha256' };
  if (key.asymmetricKeyType === 'ed25519') return { oid: '1.3.101.112', hash: null };
  if (key.asymmetricKeyType === 'ed448') return { oid: '1.3.101.113', hash: null };
  return { oid: '1.2.840.113549.1.1.11', hash: 'sha256' };
}

/** The attribute that asks for these extensions. */
export function extensionAttribute(...extensions: readonly Uint8Array[]): Buffer {
  return derSequence(derOid('1.2.840.113549.1.9.14'), derSet(derSequence(...extensions)));
}

/** A subjectAltName of URIs. */
export function sanExtension(...uris: readonly string[]): Buffer {
  const names = uris.map((uri) => derContext(6, false, Buffer.from(uri, 'latin1')));
  return testExtension('2.5.29.17', true, derSequence(...names));
}

/** PEM of a request. */
export function csrPem(der: Uint8Array): string {
  return toPem(der, 'CERTIFICATE REQUEST');
}
