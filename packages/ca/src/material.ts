import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { join } from 'node:path';
import { assembleCertificate, type CertificatePlan } from './assemble.ts';
import { makePrivateFolder, readIfThere, writePrivately } from './files.ts';
import { refusal } from './refusal.ts';

const dayMs = 86_400_000;
const rootLifeMs = 3_650 * dayMs;
const intermediateLifeMs = 365 * dayMs;

/** Clocks differ: a certificate is valid a little before it is made. Istio's `ClockSkewGracePeriod`. */
export const backdateMs = 120_000;

/** A certificate with its private key. */
export interface Signer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** The certificates and keys of an authority. */
export interface Material {
  readonly root: X509Certificate;
  /** Absent when it was moved away (kept offline): then the intermediate cannot be renewed. */
  readonly rootKey?: KeyObject;
  readonly intermediate: Signer;
}

/** A fresh P-256 private key. */
export function makeKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** Assembles, signs and parses again: a certificate that OpenSSL cannot read must not leave here. */
export function issue(plan: Omit<CertificatePlan, 'serial'>, key: KeyObject): X509Certificate {
  const serial = randomBytes(16);
  const certificate = new X509Certificate(assembleCertificate({ ...plan, serial }, key));
  if (!certificate.verify(plan.issuerPublicKey)) throw refusal('internal', 'a certificate does not verify');
  return certificate;
}

/** A new root (ten years) and an intermediate (one year) below it. */
export function makeMaterial(trustDomain: string, now: number): Material & { readonly rootKey: KeyObject } {
  const rootKey = makeKey();
  const publicKey = createPublicKey(rootKey);
  const name = authorityName('root', trustDomain);
  const root = issue(
    {
      issuer: name,
      subject: name,
      notBefore: now - backdateMs,
      notAfter: now + rootLifeMs,
      publicKey,
      issuerPublicKey: publicKey,
      // X509-SVID 3.2: the ID of a signing certificate has no path.
      names: [{ uri: `spiffe://${trustDomain}` }],
      pathLength: 1,
    },
    rootKey,
  );
  return { root, rootKey, intermediate: makeIntermediate({ certificate: root, key: rootKey }, trustDomain, now) };
}

/** A new intermediate, valid for a year or as long as the root. */
export function makeIntermediate(root: Signer, trustDomain: string, now: number): Signer {
  const key = makeKey();
  const certificate = issue(
    {
      issuer: commonNameOf(root.certificate),
      subject: authorityName('intermediate', trustDomain),
      notBefore: now - backdateMs,
      notAfter: Math.min(now + intermediateLifeMs, root.certificate.validToDate.getTime()),
      publicKey: createPublicKey(key),
      issuerPublicKey: root.certificate.publicKey,
      names: [{ uri: `spiffe://${trustDomain}` }],
      pathLength: 0,
    },
    root.key,
  );
  return { certificate, key };
}

/** Authorities of one trust domain must differ in name: a chain is found by names first. */
function authorityName(kind: string, trustDomain: string): string {
  // RFC 5280 bounds a common name at 64 characters.
  return `${kind} ${randomBytes(4).toString('hex')} ${trustDomain}`.slice(0, 64);
}

/** The common name of one of our own authorities: the last line of its subject, as Node shows it. */
export function commonNameOf(certificate: X509Certificate): string {
  const line = certificate.subject.split('\n').find((part) => part.startsWith('CN='));
  if (line === undefined) throw refusal('unavailable', 'the certificate of the authority has no common name');
  return line.slice('CN='.length);
}

const fileNames = {
  root: 'root.pem',
  rootKey: 'root-key.pem',
  intermediate: 'intermediate.pem',
  intermediateKey: 'intermediate-key.pem',
} as const;

/** Whether a folder holds an authority. */
export function hasMaterial(folder: string): boolean {
  return readIfThere(join(folder, fileNames.root)) !== undefined;
}

/** Writes all four files, mode 0600. Keys are PKCS#8, encrypted when there is a passphrase. */
export function writeMaterial(folder: string, material: Material, passphrase: string | undefined): void {
  makePrivateFolder(folder);
  if (material.rootKey !== undefined) writeKey(join(folder, fileNames.rootKey), material.rootKey, passphrase);
  writeIntermediate(folder, material.intermediate, passphrase);
  // Last: its presence says that the rest is complete.
  writePrivately(join(folder, fileNames.root), material.root.toString());
}

/** Replaces the intermediate. A crash between the two files leaves a pair that {@link readMaterial} replaces. */
export function writeIntermediate(folder: string, { certificate, key }: Signer, passphrase: string | undefined): void {
  writeKey(join(folder, fileNames.intermediateKey), key, passphrase);
  writePrivately(join(folder, fileNames.intermediate), certificate.toString());
}

function writeKey(path: string, key: KeyObject, passphrase: string | undefined): void {
  const encryption = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  writePrivately(path, key.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString());
}

/** Reads what {@link writeMaterial} wrote; the intermediate is absent when its two files do not belong together. */
export function readMaterial(
  folder: string,
  passphrase: string | undefined,
): { readonly root: X509Certificate; readonly rootKey?: KeyObject; readonly intermediate?: Signer } {
  const read = (name: string): string | undefined => readIfThere(join(folder, name));
  const root = certificateOf(read(fileNames.root), join(folder, fileNames.root));
  const rootKeyPem = read(fileNames.rootKey);
  const rootKey = rootKeyPem === undefined ? undefined : keyOf(rootKeyPem, join(folder, fileNames.rootKey), passphrase);
  if (rootKey !== undefined && !root.checkPrivateKey(rootKey)) {
    throw refusal('unavailable', `${join(folder, fileNames.rootKey)} is not the key of ${fileNames.root}`);
  }
  const certificate = certificateOf(read(fileNames.intermediate), join(folder, fileNames.intermediate));
  const keyPem = read(fileNames.intermediateKey);
  const key = keyPem === undefined ? undefined : keyOf(keyPem, join(folder, fileNames.intermediateKey), passphrase);
  const fits = key !== undefined && certificate.checkPrivateKey(key) && certificate.verify(root.publicKey);
  return {
    root,
    ...(rootKey === undefined ? {} : { rootKey }),
    ...(fits ? { intermediate: { certificate, key } } : {}),
  };
}

function certificateOf(pem: string | undefined, path: string): X509Certificate {
  if (pem === undefined) throw refusal('unavailable', `${path} is missing`);
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw refusal('unavailable', `${path} is not a certificate`, cause);
  }
}

function keyOf(pem: string, path: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    // Without the cause: what a key parser says has no business in a log.
    throw refusal('unavailable', `${path} cannot be read: not a private key, or the passphrase is missing or wrong`);
  }
}
