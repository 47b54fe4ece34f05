import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { type Clock, type Logger, parseSpiffeId } from 'inmesh/identity';
import type { SubjectName } from './assemble.ts';
import type { IssuedCertificate, ServerCertificate } from './authority-types.ts';
import { issuerPartsOf, keyIdOf } from './certificate-parts.ts';
import { publishCrls } from './crl.ts';
import type { CertificateSigningRequest } from './csr.ts';
import { type Holdings, type HoldingsStore, replaceGeneration, signing } from './holdings.ts';
import type { IssuanceLog } from './issuance-log.ts';
import type { KeyRegister } from './key-register.ts';
import { makeKey } from './key-type.ts';
import { backdateMs, chainBelowRoot, type Generation, issue, makeIntermediate, type Signer } from './material.ts';
import type { AuthoritySettings } from './options.ts';
import { refusal } from './refusal.ts';
import { serverNames } from './server-names.ts';

const serverTtlMs = 86_400_000;

/** What a {@link CertificateSigner} works with. */
export interface SignerParts {
  readonly settings: AuthoritySettings;
  readonly store: HoldingsStore;
  readonly log: IssuanceLog;
  readonly keys: KeyRegister;
}

/** Signs leaves with the generation that signs, and keeps its intermediate fresh. */
export interface CertificateSigner {
  /** Refuses when there is nothing to sign with; renews the intermediate when it is time. */
  ready(): void;
  signWorkload(csr: CertificateSigningRequest, spiffeId: string, by: string, ttlMs: number): IssuedCertificate;
  signServer(names: readonly string[]): ServerCertificate;
}

export function createSigner({ settings, store, log, keys }: SignerParts): CertificateSigner {
  const { trustDomain, clock, logger } = settings;

  const generation = (): Generation => {
    const now = clock.wallNow();
    let current = signing(store.read());
    if (isDue(current, now)) current = renewIntermediate(settings, store, logger, clock) ?? current;
    if (now >= current.intermediate.certificate.validToDate.getTime()) {
      throw refusal('unavailable', `the intermediate certificate of ${trustDomain} has expired`);
    }
    return current;
  };

  const account = (certificate: X509Certificate, of: Generation, subject: string, keyId: string, by: string): void => {
    log.append({
      time: new Date(clock.wallNow()).toISOString(),
      serial: serialOf(certificate),
      subject,
      notBefore: certificate.validFromDate.toISOString(),
      notAfter: certificate.validToDate.toISOString(),
      keyId,
      by,
      issuer: keyIdentifierOf(of.intermediate.certificate),
      root: keyIdentifierOf(of.root.certificate),
    });
  };

  return {
    ready: () => void generation(),
    signWorkload: (csr, spiffeId, by, ttlMs) => {
      const id = parseSpiffeId(spiffeId);
      if (settings.refuseKeyReuse) keys.check(csr.keyId, id.uri);
      const of = generation();
      const certificate = issueLeaf(of.intermediate, {
        publicKey: csr.publicKey,
        names: [{ uri: id.uri }],
        usage: ['serverAuth', 'clientAuth'],
        now: clock.wallNow(),
        ttlMs,
      });
      account(certificate, of, id.uri, csr.keyId, by);
      if (settings.refuseKeyReuse) keys.record(csr.keyId, id.uri);
      return {
        spiffeId: id.uri,
        certificateChainPem: chainPem(certificate, of, store.read()),
        serial: serialOf(certificate),
        rootPem: of.root.certificate.toString(),
        notBefore: certificate.validFromDate.getTime(),
        notAfter: certificate.validToDate.getTime(),
      };
    },
    signServer: (names) => {
      // Clients that were told to use RSA may know nothing else.
      const key = makeKey(settings.keyType.startsWith('rsa') ? 'rsa-2048' : 'p-256');
      const of = generation();
      const certificate = issueLeaf(of.intermediate, {
        publicKey: createPublicKey(key),
        names: serverNames(names),
        usage: ['serverAuth'],
        now: clock.wallNow(),
        ttlMs: serverTtlMs,
      });
      account(certificate, of, names.join(' '), keyIdOf(key), 'server');
      return {
        certificateChainPem: chainPem(certificate, of, store.read()),
        privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
        notAfter: certificate.validToDate.getTime(),
      };
    },
  };
}

/** Two thirds of its life are over, and there is a key to make a new one with. */
export function isDue({ root, intermediate }: Generation, now: number): boolean {
  if (root.key === undefined || root.certificate.raw.equals(intermediate.certificate.raw)) return false;
  const { validFromDate, validToDate } = intermediate.certificate;
  const from = validFromDate.getTime();
  const until = validToDate.getTime();
  // Close to the end of the root a new one would live no longer.
  return now > from + ((until - from) * 2) / 3 && root.certificate.validToDate.getTime() > until;
}

/** Makes a new intermediate for the generation that signs, unless another process just did. */
export function renewIntermediate(
  { trustDomain, keyType, nameConstraints }: AuthoritySettings,
  store: HoldingsStore,
  logger: Logger,
  clock: Clock,
): Generation | undefined {
  const now = clock.wallNow();
  try {
    const old = signing(store.read());
    const { root, intermediate } = old;
    if (root.key === undefined) return undefined;
    // Made before the folder is locked: an RSA key takes long.
    const top = { certificate: root.certificate, key: root.key };
    const next = makeIntermediate(top, { trustDomain, keyType, nameConstraints, now });
    const holdings = store.change((before) =>
      signing(before) === old
        ? publishCrls(replaceGeneration(before, old, { root, intermediate: next, previous: intermediate }), now)
        : before,
    );
    const renewed = signing(holdings);
    const notAfter = renewed.intermediate.certificate.validToDate.toISOString();
    logger.info({ notAfter }, 'made a new intermediate certificate');
    return renewed;
  } catch (error) {
    // The present one serves for another third of its life.
    logger.error({ error: (error as Error).message }, 'the intermediate certificate could not be renewed');
    return undefined;
  }
}

/** Leaf, authorities below the root, and the cross certificate for those who know only the old root. */
function chainPem(leaf: X509Certificate, of: Generation, { rotation }: Holdings): string {
  const cross = rotation?.phase === 'active' && rotation.next === of ? rotation.cross : undefined;
  return [leaf, ...chainBelowRoot(of, of.intermediate), ...(cross === undefined ? [] : [cross])].join('');
}

interface Leaf {
  readonly publicKey: KeyObject;
  readonly names: readonly SubjectName[];
  readonly usage: readonly ('serverAuth' | 'clientAuth')[];
  readonly now: number;
  readonly ttlMs: number;
}

function issueLeaf({ certificate, key }: Signer, { publicKey, names, usage, now, ttlMs }: Leaf): X509Certificate {
  return issue(
    {
      issuer: issuerPartsOf(certificate),
      subject: Buffer.alloc(0),
      notBefore: now - backdateMs,
      // Certificates count in seconds: the one that has begun is given away. None outlives the authority above it.
      notAfter: Math.min(Math.ceil((now + ttlMs) / 1_000) * 1_000, certificate.validToDate.getTime()),
      publicKey,
      names,
      extendedKeyUsage: usage,
    },
    key,
    certificate.publicKey,
  );
}

/** Key identifier of an authority, hex: how the log names who signed. */
export function keyIdentifierOf(certificate: X509Certificate): string {
  return issuerPartsOf(certificate).keyId.toString('hex');
}

function serialOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toLowerCase();
}
