import { createHash, createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { parseSpiffeId, readPemCertificates, type TrustBundles } from 'inmesh/identity';
import { type CertificateSigningRequest, checkNoAuthority, checkRequested, readCsr } from './csr.ts';
import type { IssuanceLog } from './issuance-log.ts';
import { createKeyRegister } from './key-register.ts';
import { backdateMs, commonNameOf, issue, type Material, makeIntermediate, makeKey, type Signer } from './material.ts';
import { type AuthoritySettings, checkRange, invalid } from './options.ts';
import { refusal } from './refusal.ts';
import { serverNames } from './server-names.ts';
import { checkToken, invalidToken, type JoinToken, makeToken, type TokenStore } from './tokens.ts';

/** A certificate as the authority hands it out. */
export interface IssuedCertificate {
  readonly spiffeId: string;
  /** Leaf, then the intermediate, PEM. */
  readonly certificateChainPem: string;
  /** Hex. */
  readonly serial: string;
  /** The root that the chain ends in, PEM. */
  readonly rootPem: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Who somebody has proven to be. */
export interface Attestation {
  readonly spiffeId: string;
  /** For the issuance log: `token <id>`, `renewal`, `kubernetes <cluster>`. */
  readonly by: string;
  /**
   * Takes what serves once, when nothing else stands in the way of a certificate.
   *
   * @throws Refusal
   */
  claim?(): void;
}

/** How {@link Authority.certify} reads a request. */
export interface CertifyOptions {
  /**
   * Names in the request: `match` (default) refuses all but the proven identity, `ignore` passes
   * over them, as istiod does. Either way they are not what goes into the certificate.
   */
  readonly names?: 'match' | 'ignore';
  /** Life that is asked for, milliseconds; never more than `leafTtlMs`, which is the default. */
  readonly ttlMs?: number;
}

/** Whom a token is for, and how long and how often it may be used. */
export type TokenRequest = (
  | { readonly spiffeId: string }
  | { readonly namespace: string; readonly serviceAccount: string }
) & {
  /** Default ten minutes, at most 30 days. */
  readonly ttlMs?: number;
  /** Default 1, at most 1,000: for workloads that are started several times with one token. */
  readonly uses?: number;
};

/** A server certificate with its key. */
export interface ServerCertificate {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly notAfter: number;
}

/** A certificate authority for one SPIFFE trust domain. */
export interface Authority {
  readonly trustDomain: string;
  readonly leafTtlMs: number;
  readonly rootPem: string;
  /** The roots that members of the mesh trust, by trust domain. */
  readonly trustBundles: TrustBundles;
  /** Until when it can sign without a new intermediate, milliseconds since the epoch. */
  signsUntil(): number;
  /**
   * Signs a certificate request for an identity that the caller has authenticated. The request
   * gives its public key and nothing else: whatever it asks for is ignored.
   *
   * @throws Refusal
   */
  signCsr(csrPem: string, spiffeId: string): IssuedCertificate;
  /** Signs for the identity of a join token, and uses the token up. Refuses a request that asks for more. */
  enroll(csrPem: string, token: string): IssuedCertificate;
  /** Signs for a workload that has proven with its certificate who it is. Refuses a request that asks for more. */
  renew(csrPem: string, spiffeId: string): IssuedCertificate;
  /**
   * Signs for an identity that was proven in any way. Nothing is claimed when the request is refused.
   *
   * @throws Refusal
   */
  certify(csrPem: string, attestation: Attestation, options?: CertifyOptions): IssuedCertificate;
  /**
   * Whom a join token is for. Its use is taken by {@link Attestation.claim}.
   *
   * @throws Refusal `token_invalid`
   */
  checkToken(token: string): Attestation;
  /** Makes a join token. Its text is returned once and kept only as a hash. */
  createToken(request: TokenRequest): JoinToken;
  /** A certificate for a server of the authority itself: host names and IP addresses, no SPIFFE ID. */
  issueServer(names: readonly string[]): ServerCertificate;
}

/** Where an authority keeps what outlives a call. */
export interface AuthorityState {
  readonly tokens: TokenStore;
  readonly log: IssuanceLog;
  /** Called with a new intermediate before it signs anything. */
  saveIntermediate(intermediate: Signer): void;
}

const serverTtlMs = 86_400_000;
const maxTokenTtlMs = 2_592_000_000;

/** Puts an authority together. `createAuthority` and `openAuthority` bring the parts. */
export function buildAuthority(settings: AuthoritySettings, material: Material, state: AuthorityState): Authority {
  const { trustDomain, leafTtlMs, clock, logger } = settings;
  const { root, rootKey } = material;
  const rootPem = root.toString();
  const extra = settings.extraRoots === undefined ? [] : readPemCertificates(settings.extraRoots, 'extra roots');
  const trustBundles = new Map([[trustDomain, [...new Set([rootPem, ...extra.map((other) => other.toString())])]]]);
  const keys = createKeyRegister(settings.refuseKeyReuse ? state.log.recent() : []);
  let intermediate = material.intermediate;

  /** The intermediate, renewed when two thirds of its life are over. */
  const signer = (): Signer => {
    const now = clock.wallNow();
    const { validFromDate, validToDate } = intermediate.certificate;
    const from = validFromDate.getTime();
    const until = validToDate.getTime();
    if (now > from + ((until - from) * 2) / 3 && rootKey !== undefined) {
      const next = makeIntermediate({ certificate: root, key: rootKey }, trustDomain, now);
      // Close to the end of the root a new one would live no longer.
      if (next.certificate.validToDate.getTime() > until) {
        state.saveIntermediate(next);
        intermediate = next;
        logger.info({ notAfter: next.certificate.validToDate.toISOString() }, 'made a new intermediate certificate');
      }
    }
    if (now >= intermediate.certificate.validToDate.getTime()) {
      throw refusal('unavailable', `the intermediate certificate of ${trustDomain} has expired`);
    }
    return intermediate;
  };

  const checkWorkload = (spiffeId: string): void => {
    const id = parseSpiffeId(spiffeId);
    if (id.trustDomain !== trustDomain || id.path === '') {
      throw refusal('identity_mismatch', `${id.uri} is not a workload of trust domain ${trustDomain}`);
    }
  };

  const sign = (csr: CertificateSigningRequest, spiffeId: string, by: string, ttlMs: number): IssuedCertificate => {
    const id = parseSpiffeId(spiffeId);
    checkWorkload(id.uri);
    if (settings.refuseKeyReuse) keys.check(csr.keyId, id.uri);
    const certificate = issueLeaf({
      signer: signer(),
      publicKey: csr.publicKey,
      names: [{ uri: id.uri }],
      usage: ['serverAuth', 'clientAuth'],
      now: clock.wallNow(),
      ttlMs: Math.min(ttlMs, leafTtlMs),
    });
    account(certificate, id.uri, csr.keyId, by);
    if (settings.refuseKeyReuse) keys.record(csr.keyId, id.uri);
    return {
      spiffeId: id.uri,
      certificateChainPem: certificate.toString() + intermediate.certificate.toString(),
      serial: certificate.serialNumber.toLowerCase(),
      rootPem,
      notBefore: certificate.validFromDate.getTime(),
      notAfter: certificate.validToDate.getTime(),
    };
  };

  const account = (certificate: X509Certificate, subject: string, keyId: string, by: string): void => {
    state.log.append({
      time: new Date(clock.wallNow()).toISOString(),
      serial: certificate.serialNumber.toLowerCase(),
      subject,
      notBefore: certificate.validFromDate.toISOString(),
      notAfter: certificate.validToDate.toISOString(),
      keyId,
      by,
    });
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

  const certify = (csrPem: string, attestation: Attestation, options: CertifyOptions = {}): IssuedCertificate => {
    const { spiffeId, by } = attestation;
    checkWorkload(spiffeId);
    const csr = readCsr(csrPem);
    if (options.names === 'ignore') checkNoAuthority(csr);
    else checkRequested(csr, spiffeId);
    if (settings.refuseKeyReuse) keys.check(csr.keyId, spiffeId);
    signer();
    // Everything that can be refused is refused before a token is used up.
    attestation.claim?.();
    return sign(csr, spiffeId, by, options.ttlMs ?? leafTtlMs);
  };

  return {
    trustDomain,
    leafTtlMs,
    rootPem,
    trustBundles,
    signsUntil: () => (rootKey === undefined ? intermediate.certificate : root).validToDate.getTime(),
    signCsr: (csrPem, spiffeId) => sign(readCsr(csrPem), spiffeId, 'library', leafTtlMs),
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
      const { token, record } = makeToken(subjectOf(request, trustDomain), now + ttlMs, uses);
      state.tokens.prune(now);
      state.tokens.add(record);
      return token;
    },
    issueServer: (names) => {
      const key = makeKey();
      const certificate = issueLeaf({
        signer: signer(),
        publicKey: createPublicKey(key),
        names: serverNames(names),
        usage: ['serverAuth'],
        now: clock.wallNow(),
        ttlMs: serverTtlMs,
      });
      account(certificate, names.join(' '), keyIdOf(key), 'server');
      return {
        certificateChainPem: certificate.toString() + intermediate.certificate.toString(),
        privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
        notAfter: certificate.validToDate.getTime(),
      };
    },
  };
}

interface Leaf {
  readonly signer: Signer;
  readonly publicKey: KeyObject;
  readonly names: Parameters<typeof issue>[0]['names'];
  readonly usage: readonly ('serverAuth' | 'clientAuth')[];
  readonly now: number;
  readonly ttlMs: number;
}

function issueLeaf({ signer, publicKey, names, usage, now, ttlMs }: Leaf): X509Certificate {
  return issue(
    {
      issuer: commonNameOf(signer.certificate),
      subject: '',
      notBefore: now - backdateMs,
      // Certificates count in seconds: the one that has begun is given away. None outlives the authority above it.
      notAfter: Math.min(Math.ceil((now + ttlMs) / 1_000) * 1_000, signer.certificate.validToDate.getTime()),
      publicKey,
      issuerPublicKey: signer.certificate.publicKey,
      names,
      extendedKeyUsage: usage,
    },
    signer.key,
  );
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

function keyIdOf(key: KeyObject): string {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}
