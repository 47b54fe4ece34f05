import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  derBitString,
  derContext,
  derElement,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derSet,
  derTrue,
  derUnsigned,
  derUtf8,
} from '../../src/identity/der-write.ts';
import type { Credentials } from '../../src/identity/source.ts';

/** Certificates for tests, good ones and hostile ones, built byte by byte: a P-256 chain costs about a millisecond. */

/** A subject alternative name. `raw` puts bytes that no sane builder would. */
export type TestSan =
  | { readonly uri: string | Uint8Array }
  | { readonly dns: string }
  | { readonly ip: readonly number[] }
  | { readonly raw: Uint8Array };

/** Whose key signs: an authority, or the certificate itself. */
export interface TestSigner {
  readonly name: string;
  readonly key: KeyObject;
}

/** What is in a certificate. The defaults make a good SPIFFE leaf without a name; `null` leaves an extension out. */
export interface TestCertificateOptions {
  /** Common name of the subject. */
  readonly name?: string;
  readonly sans?: readonly TestSan[];
  readonly ca?: boolean | null;
  readonly pathLength?: number;
  /** Bits as OpenSSL names them. Default `digitalSignature`. */
  readonly keyUsage?: readonly TestKeyUsage[] | null;
  readonly keyUsageCritical?: boolean;
  readonly extendedKeyUsage?: readonly TestExtendedKeyUsage[] | null;
  /** Permitted URI hosts (nameConstraints, critical). */
  readonly permittedUris?: readonly string[];
  readonly excludedUris?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Further extensions, DER. */
  readonly extraExtensions?: readonly Uint8Array[];
  readonly subjectKey?: KeyObject;
  readonly serial?: Uint8Array;
}

const keyUsageBits = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;
export type TestKeyUsage = keyof typeof keyUsageBits;

const extendedKeyUsageOids = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  any: '2.5.29.37.0',
} as const;
export type TestExtendedKeyUsage = keyof typeof extendedKeyUsageOids;

/** A fresh P-256 private key. */
export function makeKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** PKCS#8 PEM of a private key. */
export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** PEM of one DER block. */
export function toPem(der: Uint8Array, label = 'CERTIFICATE'): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** A certificate, DER, signed by `signer` (its own key when absent; with a signer, a public key will do). */
export function makeCertificate(key: KeyObject, options: TestCertificateOptions = {}, signer?: TestSigner): Buffer {
  const name = options.name ?? '';
  const issuer = signer ?? { name, key };
  const algorithm = signatureAlgorithm(issuer.key);
  const now = Date.now();
  const subjectPublicKey = publicDer(key);
  const tbs = derSequence(
    derContext(0, true, derUnsigned(Buffer.from([2]))),
    derUnsigned(options.serial ?? Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    algorithm.identifier,
    commonName(issuer.name),
    derSequence(derTime(options.notBefore ?? now - 60_000), derTime(options.notAfter ?? now + 3_600_000)),
    commonName(name),
    subjectPublicKey,
    derContext(3, true, derSequence(...extensions(options, subjectPublicKey, publicDer(issuer.key)))),
  );
  return derSequence(tbs, algorithm.identifier, derBitString(sign(algorithm.hash, tbs, issuer.key)));
}

function extensions(options: TestCertificateOptions, subjectKey: Buffer, issuerKey: Buffer): Buffer[] {
  const list: Buffer[] = [];
  if (options.ca !== null) {
    const ca = options.ca === true ? [derTrue()] : [];
    const pathLength = options.pathLength === undefined ? [] : [derUnsigned(Buffer.from([options.pathLength]))];
    list.push(testExtension('2.5.29.19', true, derSequence(...ca, ...pathLength)));
  }
  if (options.keyUsage !== null) {
    const usages = options.keyUsage ?? (options.ca === true ? ['keyCertSign', 'cRLSign'] : ['digitalSignature']);
    list.push(testExtension('2.5.29.15', options.keyUsageCritical ?? true, keyUsage(usages as TestKeyUsage[])));
  }
  const extended = options.extendedKeyUsage ?? (options.ca === true ? null : ['serverAuth', 'clientAuth']);
  if (options.extendedKeyUsage !== null && extended !== null) {
    const oids = extended.map((usage) => derOid(extendedKeyUsageOids[usage as TestExtendedKeyUsage]));
    list.push(testExtension('2.5.29.37', false, derSequence(...oids)));
  }
  if (options.sans !== undefined && options.sans.length > 0) {
    // RFC 5280 4.1.2.6: critical when the subject is empty.
    list.push(testExtension('2.5.29.17', (options.name ?? '') === '', derSequence(...options.sans.map(generalName))));
  }
  if (options.permittedUris !== undefined || options.excludedUris !== undefined) {
    const subtrees = (number: number, hosts: readonly string[] | undefined): Buffer[] =>
      hosts === undefined
        ? []
        : [derContext(number, true, ...hosts.map((host) => derSequence(derContext(6, false, Buffer.from(host)))))];
    const value = derSequence(...subtrees(0, options.permittedUris), ...subtrees(1, options.excludedUris));
    list.push(testExtension('2.5.29.30', true, value));
  }
  const keyId = (spki: Buffer): Buffer => createHash('sha1').update(spki).digest();
  list.push(testExtension('2.5.29.14', false, derOctetString(keyId(subjectKey))));
  list.push(testExtension('2.5.29.35', false, derSequence(derContext(0, false, keyId(issuerKey)))));
  for (const extra of options.extraExtensions ?? []) list.push(Buffer.from(extra));
  return list;
}

/** One extension, DER. */
export function testExtension(oid: string, critical: boolean, value: Uint8Array): Buffer {
  return derSequence(derOid(oid), ...(critical ? [derTrue()] : []), derOctetString(value));
}

function keyUsage(usages: readonly TestKeyUsage[]): Buffer {
  let bits = 0;
  let last = 0;
  for (const usage of usages) {
    bits |= 0x80 >> keyUsageBits[usage];
    last = Math.max(last, keyUsageBits[usage]);
  }
  return derBitString(Buffer.from([bits]), 7 - last);
}

function generalName(san: TestSan): Buffer {
  if ('uri' in san) return derContext(6, false, typeof san.uri === 'string' ? Buffer.from(san.uri, 'utf8') : san.uri);
  if ('dns' in san) return derContext(2, false, Buffer.from(san.dns, 'utf8'));
  if ('ip' in san) return derContext(7, false, Buffer.from(san.ip));
  return Buffer.from(san.raw);
}

/** A name with one common name, or the empty name. */
export function commonName(name: string): Buffer {
  if (name === '') return derSequence();
  return derSequence(derSet(derSequence(derOid('2.5.4.3'), derUtf8(name))));
}

/** UTCTime or GeneralizedTime, by the year. */
export function derTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  // RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
  return Number(text.slice(0, 4)) < 2050
    ? derElement(0x17, Buffer.from(text.slice(2)))
    : derElement(0x18, Buffer.from(text));
}

function publicDer(key: KeyObject): Buffer {
  return (key.type === 'public' ? key : createPublicKey(key)).export({ type: 'spki', format: 'der' });
}

/** The algorithm that a key signs with here, and its hash. */
export function signatureAlgorithm(key: KeyObject): { identifier: Buffer; hash: string | null } {
  if (key.asymmetricKeyType === 'ec') return { identifier: derSequence(derOid('1.2.840.10045.4.3.2')), hash: 'sha256' };
  if (key.asymmetricKeyType === 'ed25519') return { identifier: derSequence(derOid('1.3.101.112')), hash: null };
  return { identifier: derSequence(derOid('1.2.840.113549.1.1.11'), derNull()), hash: 'sha256' };
}

/** A certificate authority of a test: one root, or a root and an intermediate that signs. */
export interface TestAuthority {
  readonly trustDomain: string;
  readonly rootPem: string;
  readonly root: TestSigner;
  /** Who signs leaves: the intermediate, or the root when there is none. */
  readonly signer: TestSigner;
  /** PEM of the intermediate, '' when there is none: follows the leaf in a chain. */
  readonly intermediatePem: string;
  /** This trust domain with this root. */
  readonly trustBundles: ReadonlyMap<string, readonly string[]>;
  /** Complete credentials of a workload. Options override anything, also with nonsense. */
  issue(spiffeId: string, options?: TestCertificateOptions): Credentials;
}

/** Options of {@link makeAuthority}. */
export interface TestAuthorityOptions {
  /** Default `cluster.local`. */
  readonly trustDomain?: string;
  /** Common name of the root; look-alikes share it. */
  readonly name?: string;
  /** Sign leaves with an intermediate. Default true. */
  readonly intermediate?: boolean;
  /** Overrides for the intermediate. */
  readonly intermediateOptions?: TestCertificateOptions;
}

/**
 * A fresh authority.
 *
 * @example
 * const authority = makeAuthority();
 * const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
 * tls.createSecureContext({ cert: web.certificateChainPem, key: web.privateKeyPem, ca: authority.rootPem });
 */
export function makeAuthority(options: TestAuthorityOptions = {}): TestAuthority {
  const trustDomain = options.trustDomain ?? 'cluster.local';
  const now = Date.now();
  const life = { notBefore: now - 86_400_000, notAfter: now + 86_400_000 };
  const root: TestSigner = { name: options.name ?? `root of ${trustDomain}`, key: makeKey() };
  const rootDer = makeCertificate(root.key, { name: root.name, ca: true, ...life });
  const rootPem = toPem(rootDer);
  let signer = root;
  let intermediatePem = '';
  if (options.intermediate !== false) {
    signer = { name: `intermediate of ${trustDomain}`, key: makeKey() };
    const overrides = options.intermediateOptions ?? {};
    intermediatePem = toPem(
      makeCertificate(signer.key, { name: signer.name, ca: true, pathLength: 0, ...life, ...overrides }, root),
    );
  }
  const trustBundles = new Map([[trustDomain, [rootPem]]]);
  return {
    trustDomain,
    rootPem,
    root,
    signer,
    intermediatePem,
    trustBundles,
    issue: (spiffeId, leafOptions = {}) => {
      const key = leafOptions.subjectKey ?? makeKey();
      // Certificates count in whole seconds.
      const notBefore = Math.floor((leafOptions.notBefore ?? now - 60_000) / 1_000) * 1_000;
      const notAfter = Math.floor((leafOptions.notAfter ?? Date.now() + 3_600_000) / 1_000) * 1_000;
      const leaf = makeCertificate(key, { sans: [{ uri: spiffeId }], ...leafOptions, notBefore, notAfter }, signer);
      return {
        spiffeId,
        certificateChainPem: toPem(leaf) + intermediatePem,
        privateKeyPem: keyPem(key),
        trustBundles,
        notBefore,
        notAfter,
      };
    },
  };
}
