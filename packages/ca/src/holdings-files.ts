import { createHash, type KeyObject, type X509Certificate } from 'node:crypto';
import { readPemCertificates } from 'inmesh/identity';
import { isEncrypted, privateKeyPem, readPrivateKey } from './encrypted-key.ts';
import type { Holdings, Rotation } from './holdings.ts';
import type { Generation, Root, Signer } from './material.ts';
import { refusal } from './refusal.ts';
import { noRevocations, parseRevocations, renderRevocations } from './revocation.ts';

/** Texts by file name. */
export type Files = ReadonlyMap<string, string>;

/** Of the generation in force; those of the next one have `next-` before them. */
const generationFiles = ['root', 'root-key', 'intermediate', 'intermediate-key', 'previous', 'previous-key'] as const;

/** Renamed last of all: that it has changed says that everything has. */
export const stateFile = 'state.json';

/** All files that holdings are made of; those with keys end in `-key.pem`. */
export const holdingsFiles: readonly string[] = [
  ...generationFiles.map((name) => `${name}.pem`),
  ...generationFiles.map((name) => `next-${name}.pem`),
  'cross.pem',
  'revoked.json',
  'crl.pem',
  stateFile,
];

/**
 * Turns keys into text and back. Encrypted texts are kept, because making or opening one takes a
 * quarter of a second; texts of keys that lie open are not: a key is in memory as a KeyObject only,
 * where no dump of the heap shows it.
 */
export interface KeyTexts {
  textOf(key: KeyObject): string;
  keyOf(text: string, path: string): KeyObject;
}

export function createKeyTexts(passphrase: string | undefined): KeyTexts {
  const encrypted = new WeakMap<KeyObject, string>();
  const keys = new Map<string, KeyObject>();
  return {
    textOf: (key) => {
      let text = encrypted.get(key);
      if (text === undefined) {
        text = privateKeyPem(key, passphrase);
        if (passphrase !== undefined) encrypted.set(key, text);
        keys.set(digestOf(text), key);
      }
      return text;
    },
    keyOf: (text, path) => {
      const known = keys.get(digestOf(text));
      if (known !== undefined) return known;
      const key = readPrivateKey(text, path, passphrase);
      // One that lies open although there is a passphrase is written anew with the next change.
      if (isEncrypted(text)) encrypted.set(key, text);
      keys.set(digestOf(text), key);
      return key;
    },
  };
}

/** What is remembered of the text of a file: itself, or its SHA-256 where it holds a key. */
export function traceOf(name: string, text: string): string {
  return name.endsWith('-key.pem') ? digestOf(text) : text;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The files that holdings are kept in. */
export function renderHoldings(holdings: Holdings, revision: number, keys: KeyTexts): Files {
  const { current, rotation, revocations } = holdings;
  const files = new Map<string, string>();
  const signer = (name: string, { certificate, key, above = [] }: Signer): void => {
    files.set(`${name}.pem`, [certificate, ...above].join(''));
    files.set(`${name}-key.pem`, keys.textOf(key));
  };
  const generation = (prefix: string, { root, intermediate, previous }: Generation): void => {
    files.set(`${prefix}root.pem`, root.certificate.toString());
    if (root.key !== undefined) files.set(`${prefix}root-key.pem`, keys.textOf(root.key));
    signer(`${prefix}intermediate`, intermediate);
    if (previous !== undefined) signer(`${prefix}previous`, previous);
  };
  generation('', current);
  if (rotation !== undefined) {
    generation('next-', rotation.next);
    // Whoever is given this file now goes on trusting when the old root is gone.
    files.set('root.pem', `${current.root.certificate}${rotation.next.root.certificate}`);
    if (rotation.cross !== undefined) files.set('cross.pem', rotation.cross.toString());
  }
  files.set('revoked.json', renderRevocations(revocations));
  if (revocations.crls !== undefined) files.set('crl.pem', revocations.crls.pems.join(''));
  files.set(stateFile, renderState(revision, rotation));
  return files;
}

/**
 * Reads what {@link renderHoldings} wrote.
 *
 * @param at turns a file name into a path for messages
 * @param remake makes a new intermediate where the two files of one do not belong together
 */
export function parseHoldings(
  files: Files,
  keys: KeyTexts,
  at: (name: string) => string,
  remake?: (root: Required<Root>) => Signer,
): { readonly holdings: Holdings; readonly revision: number } {
  const { revision, rotation } = parseState(files.get(stateFile), at(stateFile));
  const certificates = (name: string): readonly X509Certificate[] => {
    const text = files.get(name);
    if (text === undefined) throw refusal('unavailable', `${at(name)} is missing`);
    try {
      return readPemCertificates(text, name);
    } catch (cause) {
      throw refusal('unavailable', `${at(name)} is not a certificate`, cause);
    }
  };
  const keyIn = (name: string): KeyObject | undefined => {
    const text = files.get(name);
    return text === undefined ? undefined : keys.keyOf(text, at(name));
  };
  const signer = (name: string): Signer => {
    const [certificate, ...above] = certificates(`${name}.pem`) as [X509Certificate];
    const key = keyIn(`${name}-key.pem`);
    if (key === undefined) throw refusal('unavailable', `${at(`${name}-key.pem`)} is missing`);
    return { certificate, key, ...(above.length === 0 ? {} : { above }) };
  };
  const root = (prefix: string): Root => {
    const [certificate] = certificates(`${prefix}root.pem`) as [X509Certificate];
    const key = keyIn(`${prefix}root-key.pem`);
    if (key === undefined) return { certificate };
    if (!certificate.checkPrivateKey(key)) {
      throw refusal('unavailable', `${at(`${prefix}root-key.pem`)} is not the key of ${prefix}root.pem`);
    }
    return { certificate, key };
  };
  const checked = (name: string, found: Signer): Signer => {
    if (found.certificate.checkPrivateKey(found.key)) return found;
    throw refusal('unavailable', `${at(`${name}.pem`)} and ${at(`${name}-key.pem`)} do not belong together`);
  };
  const intermediateOf = (prefix: string, { certificate, key }: Root): Signer => {
    const found = signer(`${prefix}intermediate`);
    const whole = remake === undefined || key === undefined || found.certificate.checkPrivateKey(found.key);
    return whole ? checked(`${prefix}intermediate`, found) : remake({ certificate, key });
  };
  const generation = (prefix: string): Generation => {
    const top = root(prefix);
    const made = { root: top, intermediate: intermediateOf(prefix, top) };
    checkBelow(made, at(`${prefix}intermediate.pem`));
    return files.has(`${prefix}previous.pem`)
      ? { ...made, previous: checked(`${prefix}previous`, signer(`${prefix}previous`)) }
      : made;
  };
  const revoked = files.get('revoked.json');
  const holdings: Holdings = {
    current: generation(''),
    revocations:
      revoked === undefined ? noRevocations : parseRevocations(revoked, files.get('crl.pem'), at('revoked.json')),
  };
  if (rotation === undefined) return { holdings, revision };
  const cross = files.has('cross.pem') ? { cross: certificates('cross.pem')[0] as X509Certificate } : {};
  return { holdings: { ...holdings, rotation: { ...rotation, next: generation('next-'), ...cross } }, revision };
}

function checkBelow({ root, intermediate }: Generation, path: string): void {
  const { certificate, above = [] } = intermediate;
  if (certificate.raw.equals(root.certificate.raw)) return;
  const top = above[above.length - 1] ?? certificate;
  if (!top.checkIssued(root.certificate) || !top.verify(root.certificate.publicKey)) {
    throw refusal('unavailable', `${path} is not signed by the root`);
  }
}

function renderState(revision: number, rotation: Rotation | undefined): string {
  const state = {
    version: 1,
    revision,
    ...(rotation === undefined
      ? {}
      : {
          rotation: {
            phase: rotation.phase,
            preparedAt: rotation.preparedAt,
            ...(rotation.activatedAt === undefined ? {} : { activatedAt: rotation.activatedAt }),
          },
        }),
  };
  return `${JSON.stringify(state, undefined, 2)}\n`;
}

interface State {
  readonly revision: number;
  readonly rotation?: Pick<Rotation, 'phase' | 'preparedAt' | 'activatedAt'>;
}

function parseState(text: string | undefined, path: string): State {
  // A folder of before there were rotations has none.
  if (text === undefined) return { revision: 0 };
  try {
    const { version, revision, rotation } = JSON.parse(text) as Record<string, unknown>;
    if (version === 1 && typeof revision === 'number' && Number.isInteger(revision)) {
      if (rotation === undefined) return { revision };
      const { phase, preparedAt, activatedAt } = rotation as Record<string, unknown>;
      if ((phase === 'prepared' || phase === 'active') && typeof preparedAt === 'number') {
        const since = typeof activatedAt === 'number' ? { activatedAt } : {};
        return { revision, rotation: { phase, preparedAt, ...since } };
      }
    }
  } catch {
    // The same answer for text that is no JSON and for another kind of JSON.
  }
  throw refusal('unavailable', `${path} is not the state of a certificate authority`);
}
