import type { KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { readCertificate, readPemCertificates } from 'inmesh/identity';
import { signatureOidOf } from './certificate-parts.ts';
import { mayPublish } from './crl.ts';
import { readPrivateKey } from './encrypted-key.ts';
import { readIfThere } from './files.ts';
import { weaknessOf } from './key-type.ts';
import type { Generation } from './material.ts';
import { refusal } from './refusal.ts';
import { signOnTrial } from './trial.ts';

/**
 * File names of an intermediate that another authority made: those of Istio's `cacerts` secret
 * (`ca-crl.pem` has the revocation lists of the authorities above it), and `cross-cert.pem`, the new root signed by the old one, when roots are exchanged.
 */
const names = {
  certificate: 'ca-cert.pem',
  key: 'ca-key.pem',
  chain: 'cert-chain.pem',
  roots: 'root-cert.pem',
  cross: 'cross-cert.pem',
  crls: 'ca-crl.pem',
} as const;

/** An intermediate that was made elsewhere. */
export interface Plugged {
  readonly generation: Generation;
  /** Further roots of `root-cert.pem`: to hand out, not above this intermediate. */
  readonly otherRoots: readonly X509Certificate[];
  readonly cross?: X509Certificate;
  /** Revocation lists of the authorities above, PEM. */
  readonly crls?: string;
  /** What the operator should know: it will expire soon, it must not sign revocation lists. */
  readonly warnings: readonly string[];
}

/** Who asks, and for what. */
export interface PluggedOptions {
  readonly trustDomain: string;
  readonly passphrase?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const soonMs = 30 * 86_400_000;
/** SHA-1 and MD5, with RSA and ECDSA. */
const weakSignatures = ['1.2.840.113549.1.1.4', '1.2.840.113549.1.1.5', '1.2.840.10045.4.1'];

/**
 * Reads an intermediate with its key, chain and root from a folder like Istio's `cacerts`. Checked
 * is what its certificates will be held to: a workload certificate is signed on trial and verified
 * as a peer would.
 *
 * @throws Refusal `bad_request` naming the file and what is wrong with it
 */
export function readPlugged(folder: string, { trustDomain, passphrase, now }: PluggedOptions): Plugged {
  const certificates = (name: string): readonly X509Certificate[] => {
    const text = readIfThere(join(folder, name));
    if (text === undefined) throw bad(folder, name, 'it is missing');
    try {
      return readPemCertificates(text, name);
    } catch (cause) {
      throw refusal('bad_request', (cause as Error).message, cause);
    }
  };
  const [certificate, ...more] = certificates(names.certificate) as [X509Certificate];
  const key = readKey(folder, passphrase);
  if (!certificate.checkPrivateKey(key)) throw bad(folder, names.key, `it is not the key of ${names.certificate}`);
  const chain = readIfThere(join(folder, names.chain)) === undefined ? [] : certificates(names.chain);
  const roots = certificates(names.roots);
  for (const [at, each] of [certificate, ...more, ...chain, ...roots].entries()) {
    const name = at === 0 ? names.certificate : at <= more.length + chain.length ? names.chain : names.roots;
    checkStrength(folder, name, each, !roots.some((root) => root.raw.equals(each.raw)));
  }
  const { ca, keyUsage } = readCertificate(certificate.raw);
  if (!ca) throw bad(folder, names.certificate, 'it is not the certificate of an authority (cA is false)');
  if (keyUsage?.keyCertSign !== true) throw bad(folder, names.certificate, 'it lacks keyCertSign');
  const path = pathUp(certificate, [...more, ...chain], roots);
  if (path === undefined) {
    throw bad(folder, names.certificate, `it does not chain to a root of ${names.roots} (with ${names.chain})`);
  }
  const { root, above } = path;
  checkByTrial({ certificate, key, above, root }, folder, { trustDomain, now });
  const cross = readIfThere(join(folder, names.cross)) === undefined ? undefined : certificates(names.cross)[0];
  const crls = readIfThere(join(folder, names.crls));
  return {
    ...(crls === undefined ? {} : { crls }),
    generation: {
      root: { certificate: root },
      intermediate: { certificate, key, ...(above.length === 0 ? {} : { above }) },
    },
    otherRoots: roots.filter((other) => other !== root),
    ...(cross === undefined ? {} : { cross }),
    warnings: warningsOf([certificate, ...above, root], now),
  };
}

function readKey(folder: string, passphrase: string | undefined): KeyObject {
  const text = readIfThere(join(folder, names.key));
  if (text === undefined) throw bad(folder, names.key, 'it is missing');
  return readPrivateKey(text, join(folder, names.key), passphrase);
}

function checkStrength(folder: string, name: string, certificate: X509Certificate, signed: boolean): void {
  const weakness = weaknessOf(certificate.publicKey, false);
  if (weakness !== undefined) throw bad(folder, name, weakness);
  // What a root says of itself proves nothing, so its own signature does not matter.
  const oid = signatureOidOf(certificate);
  if (signed && weakSignatures.includes(oid)) throw bad(folder, name, `it is signed with SHA-1 or MD5 (${oid})`);
}

/** The authorities from this one up to a root; nothing when there is no way. */
function pathUp(
  at: X509Certificate,
  pool: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): { readonly root: X509Certificate; readonly above: readonly X509Certificate[] } | undefined {
  const same = roots.find((root) => root.raw.equals(at.raw));
  if (same !== undefined) return { root: same, above: [] };
  const signedBy = (issuer: X509Certificate): boolean => at.checkIssued(issuer) && at.verify(issuer.publicKey);
  const root = roots.find(signedBy);
  if (root !== undefined) return { root, above: [] };
  for (const issuer of pool.filter((other) => !other.raw.equals(at.raw) && signedBy(other))) {
    const rest = pathUp(
      issuer,
      pool.filter((other) => other !== issuer),
      roots,
    );
    if (rest !== undefined) return { root: rest.root, above: [issuer, ...rest.above] };
  }
  return undefined;
}

interface Candidate {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  readonly above: readonly X509Certificate[];
  readonly root: X509Certificate;
}

function checkByTrial(
  { certificate, key, above, root }: Candidate,
  folder: string,
  { trustDomain, now }: { readonly trustDomain: string; readonly now: number },
): void {
  const named = [certificate, ...above, root].find((authority) => isOfOther(authority, trustDomain));
  if (named !== undefined) {
    throw bad(folder, names.certificate, `${named.subjectAltName} is not an authority of trust domain ${trustDomain}`);
  }
  const chain = [certificate, ...above].filter((each) => !each.raw.equals(root.raw));
  try {
    signOnTrial({ signer: { certificate, key }, chain, root, trustDomain, now });
  } catch (cause) {
    throw refusal('bad_request', `${join(folder, names.certificate)}: ${(cause as Error).message}`, cause);
  }
}

/** X509-SVID 3.2: an authority may have a SPIFFE ID, that of its trust domain. */
function isOfOther({ subjectAltName }: X509Certificate, trustDomain: string): boolean {
  return (
    subjectAltName
      ?.split(', ')
      .some((name) => name.startsWith('URI:spiffe://') && name !== `URI:spiffe://${trustDomain}`) === true
  );
}

function warningsOf(path: readonly X509Certificate[], now: number): readonly string[] {
  const warnings = path
    .filter(({ validToDate }) => validToDate.getTime() < now + soonMs)
    .map(({ subject, validToDate }) => `${oneLine(subject)} expires at ${validToDate.toISOString()}`);
  const [first] = path;
  if (first !== undefined && !mayPublish(first)) {
    warnings.push(`${oneLine(first.subject)} lacks cRLSign: there will be no revocation list of it`);
  }
  return warnings;
}

function oneLine(subject: string): string {
  return JSON.stringify(subject.replaceAll('\n', ', ').slice(0, 200));
}

function bad(folder: string, name: string, reason: string): Error {
  return refusal('bad_request', `${join(folder, name)}: ${reason}`);
}
