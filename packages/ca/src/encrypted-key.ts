import { createCipheriv, createPrivateKey, type KeyObject, randomBytes, scryptSync } from 'node:crypto';
import { encode, octets, oid, pem, sequence, whole } from './asn1.ts';
import { refusal } from './refusal.ts';

/**
 * Cost of guessing a passphrase: 16 MiB and about a quarter of a second each. node:crypto's own
 * encryption of PKCS#8 derives the key with 2,048 rounds of PBKDF2, which a graphics card does
 * millions of times a second. A larger N is beyond the memory that OpenSSL allows when it reads.
 */
const cost = { N: 16_384, r: 8, p: 5 } as const;

/**
 * PKCS#8 of a private key, PEM: encrypted (RFC 5958, PBES2 with scrypt of RFC 7914 and AES-256-CBC)
 * when there is a passphrase. OpenSSL 1.1 and later read it.
 */
export function privateKeyPem(key: KeyObject, passphrase: string | undefined): string {
  if (passphrase === undefined) return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const secret = scryptSync(Buffer.from(passphrase, 'utf8'), salt, 32, { ...cost, maxmem: 67_108_864 });
  const cipher = createCipheriv('aes-256-cbc', secret, iv);
  const plain = key.export({ type: 'pkcs8', format: 'der' });
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  plain.fill(0);
  secret.fill(0);
  const derivation = sequence(
    oid('1.3.6.1.4.1.11591.4.11'),
    sequence(octets(salt), whole(cost.N), whole(cost.r), whole(cost.p), whole(32)),
  );
  const encryption = sequence(oid('2.16.840.1.101.3.4.1.42'), octets(iv));
  const algorithm = sequence(oid('1.2.840.113549.1.5.13'), sequence(derivation, encryption));
  return pem('ENCRYPTED PRIVATE KEY', encode(sequence(algorithm, octets(encrypted))));
}

/** Reads a private key; `path` names it in the message. @throws Refusal `unavailable` */
export function readPrivateKey(text: string, path: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: text, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    // Without the cause: what a key parser says has no business in a log.
    throw refusal('unavailable', `${path} cannot be read: not a private key, or the passphrase is missing or wrong`);
  }
}

/** Whether the text of a key is encrypted. */
export function isEncrypted(text: string): boolean {
  return /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text);
}
