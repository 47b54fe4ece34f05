import { createHash } from 'node:crypto';
import { parseSpiffeId, readPemCertificates, readPemCrls, type TrustBundles } from 'inmesh/identity';
import type {
  Attestation,
  Authority,
  AuthorityBundle,
  CertifyOptions,
  IssuedCertificate,
  TokenRequest,
} from './authority-types.ts';
import { crlsAreDue, publishCrls } from './crl.ts';
import { withoutCrl } from './crl-coverage.ts';
import { checkNoAuthority, checkRequested, readCsr } from './csr.ts';
import { type Holdings, type HoldingsStore, signing } from './holdings.ts';
import type { IssuanceLog } from './issuance-log.ts';
import { createKeeper } from './keeper.ts';
import { createKeyRegister } from './key-register.ts';
import { type AuthoritySettings, checkRange, invalid } from './options.ts';
import { refusal } from './refusal.ts';
import { createSigner, isDue } from './signing.ts';
import { statusOf } from './status.ts';
import { checkToken, invalidToken, makeToken, type TokenStore } from './tokens.ts';

/** Where an authority keeps what outlives a call. */
export interface AuthorityState {
  readonly tokens: TokenStore;
  readonly log: IssuanceLog;
  readonly store: HoldingsStore;
  /** Revocation lists that were made elsewhere, PEM: those of a root whose key is not here. */
  readonly extraCrls: readonly string[];
}

const maxTokenTtlMs = 2_592_000_000;

/** Puts an authority together. `createAuthority` and `openAuthority` bring the parts. */
export function buildAuthority(settings: AuthoritySettings, state: AuthorityState): Authority {
  const { trustDomain, leafTtlMs, clock, logger } = settings;
  const { store, log } = state;
  const keys = createKeyRegister(settings.refuseKeyReuse ? log.recent() : []);
  const signer = createSigner({ settings, store, log, keys });
  const extraRoots =
    settings.extraRoots === undefined
      ? []
      : readPemCertificates(settings.extraRoots, 'extra roots').map((root) => root.toString());
  const listeners = new Set<() => void>();
  const ownRoots = (holdings: Holdings): readonly string[] => {
    const { current, rotation } = holdings;
    const next = rotation === undefined ? [] : [rotation.next.root.certificate.toString()];
    return [current.root.certificate.toString(), ...next];
  };

  let own: TrustBundles = new Map();
  const ownBundles = (): TrustBundles => {
    const roots = [...new Set([...ownRoots(store.read()), ...extraRoots])];
    if (own.get(trustDomain)?.join('') !== roots.join('')) own = new Map([[trustDomain, roots]]);
    return own;
  };

  /** Lists for members: while there is something on them, and only when none that they want is missing. */
  const listsFor = (holdings: Holdings): readonly string[] => {
    const { certificates, crls } = holdings.revocations;
    const now = clock.wallNow();
    if (crls === undefined || !certificates.some(({ notAfter }) => now < notAfter)) return [];
    const lists = [...crls.pems, ...state.extraCrls];
    return withoutCrl(holdings, lists, now).length === 0 ? lists : [];
  };

  interface Known {
    readonly holdings: Holdings;
    readonly federated: TrustBundles;
    /** When the last revoked certificate expires, so that lists are wanted no longer, or one of the lists does. */
    readonly listsUntil: number;
    readonly bundle: AuthorityBundle;
  }
  let known: Known | undefined;
  /** The same object until its content changes: connections remember by it what they verified against. */
  const bundle = (): AuthorityBundle => {
    const holdings = store.read();
    const federated = settings.federated();
    if (known?.holdings === holdings && known.federated === federated && clock.wallNow() < known.listsUntil) {
      return known.bundle;
    }
    const crls = listsFor(holdings);
    // Another authority of the own trust domain may have roots of its own.
    const shared = federated.get(trustDomain) ?? [];
    const roots = [...new Set([...ownRoots(holdings), ...extraRoots, ...shared])];
    const entries = [...federated].filter(([domain]) => domain !== trustDomain);
    const trust = JSON.stringify([[trustDomain, roots], ...entries]);
    const before = known?.bundle;
    const trustBundles: TrustBundles =
      before !== undefined && JSON.stringify([...before.trustBundles]) === trust
        ? before.trustBundles
        : new Map([[trustDomain, roots], ...entries]);
    const tag = createHash('sha256')
      .update(JSON.stringify([trust, crls]))
      .digest('hex')
      .slice(0, 32);
    const ends = holdings.revocations.certificates.map(({ notAfter }) => notAfter);
    const listsEnd = crls.flatMap((pem) => readPemCrls(pem, 'revocation lists')).map(({ nextUpdate }) => nextUpdate);
    const listsUntil = crls.length === 0 ? Number.POSITIVE_INFINITY : Math.min(maximum(ends), ...listsEnd);
    known = { holdings, federated, listsUntil, bundle: before?.tag === tag ? before : { trustBundles, crls, tag } };
    return known.bundle;
  };

  const signerOf = (): string => signing(store.read()).intermediate.certificate.fingerprint256;

  let told: string | undefined;
  /** What members and servers act on: the bundle, and who signs. */
  const fingerprint = (): string => `${bundle().tag} ${signerOf()}`;
  const tell = (): void => {
    const now = fingerprint();
    if (told === now) return;
    const first = told === undefined;
    told = now;
    if (first) return;
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        logger.error({ error: String(error) }, 'a listener of the authority failed');
      }
    }
  };
  tell();

  const checkIdentity = (spiffeId: string): void => {
    const id = parseSpiffeId(spiffeId);
    if (id.trustDomain !== trustDomain || id.path === '') {
      throw refusal('identity_mismatch', `${id.uri} is not a workload of trust domain ${trustDomain}`);
    }
    if (store.read().revocations.identities.some((revoked) => revoked.spiffeId === id.uri)) {
      throw refusal('revoked', `${id.uri} was revoked and gets no certificates`);
    }
  };
  const checkSerial = (serial: string | undefined): void => {
    if (serial === undefined) return;
    const text = serial.toLowerCase();
    if (store.read().revocations.certificates.some((revoked) => revoked.serial === text)) {
      throw refusal('revoked', `the certificate with serial number ${text} was revoked`);
    }
  };

  const certify = (csrPem: string, attestation: Attestation, options: CertifyOptions = {}): IssuedCertificate => {
    const { spiffeId, by } = attestation;
    checkIdentity(spiffeId);
    checkSerial(attestation.serial);
    const csr = readCsr(csrPem);
    if (options.names === 'ignore') checkNoAuthority(csr);
    else checkRequested(csr, spiffeId);
    if (settings.refuseKeyReuse) keys.check(csr.keyId, spiffeId);
    signer.ready();
    // Everything that can be refused is refused before a token is used up.
    attestation.claim?.();
    const issued = signer.signWorkload(csr, spiffeId, by, Math.min(options.ttlMs ?? leafTtlMs, leafTtlMs));
    // Once more: a revocation that came in between may not have seen this certificate.
    checkIdentity(spiffeId);
    return issued;
  };

  const checkJoinToken = (token: string): Attestation => {
    const record = checkToken(state.tokens, token, clock.wallNow());
    return {
      spiffeId: record.spiffeId,
      by: `token ${record.id}`,
      claim: () => {
        if (!state.tokens.take(record)) throw invalidToken();
      },
    };
  };

  const keeper = createKeeper({ settings, store, log, extraCrls: state.extraCrls, changed: tell });

  const refresh = (): void => {
    const holdings = store.read();
    const now = clock.wallNow();
    if (isDue(signing(holdings), now)) signer.ready();
    if (crlsAreDue(holdings.revocations, now)) {
      store.change((before) => (crlsAreDue(before.revocations, now) ? publishCrls(before, now) : before));
    }
    tell();
  };

  return {
    trustDomain,
    leafTtlMs,
    get rootPem() {
      return ownRoots(store.read()).join('');
    },
    get ownBundles() {
      return ownBundles();
    },
    get trustBundles() {
      return bundle().trustBundles;
    },
    bundle,
    get signer() {
      return signerOf();
    },
    signsUntil: () => {
      const { root, intermediate } = signing(store.read());
      return (root.key === undefined ? intermediate : root).certificate.validToDate.getTime();
    },
    signCsr: (csrPem, spiffeId) => {
      checkIdentity(spiffeId);
      return signer.signWorkload(readCsr(csrPem), spiffeId, 'library', leafTtlMs);
    },
    enroll: (csrPem, token) => certify(csrPem, checkJoinToken(token)),
    renew: (csrPem, spiffeId) => certify(csrPem, { spiffeId, by: 'renewal' }),
    certify,
    checkToken: checkJoinToken,
    createToken: (request) => {
      const { ttlMs = 600_000, uses = 1 } = request;
      checkRange('ttlMs', ttlMs, 1_000, maxTokenTtlMs);
      checkRange('uses', uses, 1, 1_000);
      if (!Number.isInteger(uses)) throw invalid('uses', 'expected a whole number', uses);
      const now = clock.wallNow();
      const subject = subjectOf(request, trustDomain);
      checkIdentity(subject);
      const { token, record } = makeToken(subject, now + ttlMs, uses);
      state.tokens.prune(now);
      state.tokens.add(record);
      return token;
    },
    issueServer: (names) => signer.signServer(names),
    ...keeper,
    crls: () => {
      refresh();
      return [...(store.read().revocations.crls?.pems ?? []), ...state.extraCrls];
    },
    status: () => {
      const holdings = store.read();
      return statusOf({
        trustDomain,
        leafTtlMs,
        holdings,
        rootsInBundle: bundle().trustBundles.get(trustDomain)?.length ?? 0,
        log: log.all(),
        check: log.check(),
        withoutCrl: withoutCrl(
          holdings,
          [...(holdings.revocations.crls?.pems ?? []), ...state.extraCrls],
          clock.wallNow(),
        ),
        ofOther: keeper.validOfOther(holdings),
        now: clock.wallNow(),
      });
    },
    refresh,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

function subjectOf(request: TokenRequest, trustDomain: string): string {
  const uri =
    'spiffeId' in request
      ? request.spiffeId
      : `spiffe://${trustDomain}/ns/${request.namespace}/sa/${request.serviceAccount}`;
  const id = parseSpiffeId(uri);
  if (id.trustDomain !== trustDomain || id.path === '') {
    throw invalid('spiffeId', `expected a workload of trust domain ${trustDomain}`, uri);
  }
  // A namespace with a slash in it would be another identity than it looks.
  if (
    !('spiffeId' in request) &&
    (id.namespace !== request.namespace || id.serviceAccount !== request.serviceAccount)
  ) {
    throw invalid('namespace and serviceAccount', 'expected one path segment each', uri);
  }
  return id.uri;
}

// Not `Math.max(...)`: there may be more than fit into a call.
function maximum(numbers: readonly number[]): number {
  return numbers.reduce((most, number) => Math.max(most, number), 0);
}
