import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  keyPem,
  makeCertificate,
  makeKey,
  type TestCertificateOptions,
  type TestSigner,
  toPem,
} from '../../../../test/support/certificates.ts';

/** An authority somewhere else, that makes intermediates for ours. */
export interface OtherAuthority {
  readonly rootPem: string;
  readonly signer: TestSigner;
  /** Writes a folder like Istio's `cacerts` and returns its path. */
  write(folder: string, options?: PluggedFolder): string;
}

/** What is in a folder; the defaults make a good one. */
export interface PluggedFolder {
  readonly key?: KeyObject;
  readonly certificate?: TestCertificateOptions;
  /** Files to leave out, or to write otherwise. */
  readonly files?: Readonly<Record<string, string | undefined>>;
  /** Another authority between the root and this one. */
  readonly deep?: boolean;
}

export function otherAuthority(name = 'their root', rootKey: KeyObject = makeKey()): OtherAuthority {
  const now = Date.now();
  const life = { notBefore: now - 86_400_000, notAfter: now + 90 * 86_400_000 };
  const signer: TestSigner = { name, key: rootKey };
  const rootPem = toPem(makeCertificate(rootKey, { name, ca: true, ...life }));
  return {
    rootPem,
    signer,
    write: (folder, { key = makeKey(), certificate = {}, files = {}, deep = false } = {}) => {
      mkdirSync(folder, { recursive: true });
      const middle: TestSigner = { name: 'their middle', key: makeKey() };
      const middlePem = toPem(makeCertificate(middle.key, { name: middle.name, ca: true, ...life }, signer));
      const der = makeCertificate(
        key,
        { name: 'their intermediate', ca: true, pathLength: 0, ...life, ...certificate },
        deep ? middle : signer,
      );
      const contents: Record<string, string | undefined> = {
        'ca-cert.pem': toPem(der),
        'ca-key.pem': keyPem(key),
        'cert-chain.pem': `${toPem(der)}${deep ? middlePem : ''}${rootPem}`,
        'root-cert.pem': rootPem,
        ...files,
      };
      for (const [file, text] of Object.entries(contents)) {
        if (text !== undefined) writeFileSync(join(folder, file), text);
      }
      return folder;
    },
  };
}

/** The public key of a certificate, as DER. */
export function publicKeyOfPem(pem: string): Buffer {
  return createPublicKey(new X509Certificate(pem).publicKey).export({ type: 'spki', format: 'der' });
}
