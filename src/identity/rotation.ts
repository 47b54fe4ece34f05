import { createSecureContext } from 'node:tls';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import { checkCredentials } from './credentials.ts';
import { watchExpiry } from './expiry-watch.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials } from './source.ts';
import type { ActiveIdentity, IdentityHealth, IdentityStore } from './store.ts';
import { meshTlsOptions } from './tls-options.ts';
import { rememberIntermediates } from './trust.ts';
import { renewTrust } from './trust-renewal.ts';
import { verifyPeer } from './verify-peer.ts';

/** Options of {@link createIdentityStore}. */
export interface IdentityStoreOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Trust domain that this process must be of. Default: whatever the certificate says. */
  readonly trustDomain?: string;
  /** SPIFFE ID that this process must have. Default: whatever the certificate says. */
  readonly spiffeId?: string;
  /** The certificate has expired, and there is no other. */
  expired?(): void;
}

/**
 * Holds the newest good credentials. What arrives is checked before it replaces anything: the key
 * belongs to the certificate, the identity is the expected one, nothing is expired, and there is a
 * trust bundle. What fails is refused and the last good credentials stay, until they expire: from
 * then on there is no identity, and whoever needs one fails closed.
 *
 * The same trouble is logged once, until something else happens.
 *
 * Sources renew at half of a certificate's life, so a healthy process never sees the warnings that
 * are logged when 50 %, 25 % and 10 % are left.
 */
export function createIdentityStore(options: IdentityStoreOptions): IdentityStore {
  const { clock, logger } = options;
  const listeners = new Set<(identity: ActiveIdentity) => void>();
  const { promise: ready, resolve: becomeReady } = Promise.withResolvers<void>();
  let active: ActiveIdentity | undefined;
  let problem: Error | undefined;
  let generation = 0;
  let acceptedAt = 0;
  let rejected = 0;
  let lost = 0;
  let stopWatching = (): void => {};
  let closed = false;

  /** Whether this trouble is news: a source that tries again and again must not fill the log. */
  const isNews = (error: Error): boolean => {
    const before = problem;
    problem = error;
    return before === undefined || before.message !== error.message;
  };

  const refuse = (error: Error): void => {
    rejected++;
    if (!isNews(error)) return;
    const meanwhile = active === undefined ? 'there is none yet' : 'the last one stays';
    logger.error({ error: error.message, inForce: active?.credentials.spiffeId }, `identity refused; ${meanwhile}`);
  };

  const accept = (offered: Credentials): void => {
    checkCredentials(offered, { ...options, now: clock.wallNow() });
    const before = active?.credentials;
    // Connections remember what they verified against by the identity of the bundle map.
    const { trustBundles, crlsByTrustDomain, problems } = renewTrust(before, offered, clock.wallNow());
    const credentials: Credentials = { ...offered, trustBundles, crlsByTrustDomain };
    for (const { message } of problems)
      logger.error({ error: message }, 'a revocation list was refused; the last one stays');
    if (
      before !== undefined &&
      before.certificateChainPem === credentials.certificateChainPem &&
      before.privateKeyPem === credentials.privateKeyPem &&
      before.trustBundles === trustBundles
    ) {
      problem = problems[0];
      return;
    }
    const clientContext = createSecureContext(meshTlsOptions(credentials));
    active = { credentials, id: parseSpiffeId(credentials.spiffeId), generation: ++generation, clientContext };
    problem = problems[0];
    checkOwnChain(credentials);
    // Other roots for the same certificate make it no younger.
    if (before?.certificateChainPem !== credentials.certificateChainPem) {
      acceptedAt = clock.wallNow();
      schedule(active);
    }
    logger.info(
      { spiffeId: credentials.spiffeId, notAfter: new Date(credentials.notAfter).toISOString(), generation },
      'identity accepted',
    );
    becomeReady();
    for (const listener of listeners) notify(listener, active);
  };

  const notify = (listener: (identity: ActiveIdentity) => void, identity: ActiveIdentity): void => {
    try {
      listener(identity);
    } catch (error) {
      // One listener must not keep the others from the new certificate.
      logger.error({ error: String(error) }, 'a listener for identities failed');
    }
  };

  const checkOwnChain = (credentials: Credentials): void => {
    try {
      const chain = readPemCertificates(credentials.certificateChainPem, 'certificate chain');
      rememberIntermediates(credentials.trustBundles, chain.slice(1));
      verifyPeer(chain, credentials.trustBundles, clock.wallNow());
    } catch (error) {
      // Not a reason to refuse: keeping the old bundle would keep trust that was just taken away.
      const fields = { spiffeId: credentials.spiffeId, error: (error as Error).message };
      logger.warn(fields, 'the own certificate does not chain to the own trust bundle; peers will refuse it');
    }
  };

  const schedule = ({ credentials }: ActiveIdentity): void => {
    const { spiffeId } = credentials;
    const notAfter = new Date(credentials.notAfter).toISOString();
    stopWatching();
    stopWatching = watchExpiry(clock, credentials.notAfter, (shareLeft) => {
      if (shareLeft > 0) {
        const fields = { spiffeId, notAfter, percentLeft: shareLeft * 100, problem: problem?.message };
        logger.warn(fields, 'the certificate was not renewed yet');
        return;
      }
      const message = 'the certificate has expired; there is no identity until it is renewed';
      logger.error({ spiffeId, notAfter, problem: problem?.message }, message);
      options.expired?.();
    });
  };

  const valid = (): ActiveIdentity | undefined =>
    active !== undefined && clock.wallNow() < active.credentials.notAfter ? active : undefined;

  const health = (): IdentityHealth => {
    const counts = { updates: generation, rejected, lost };
    const trouble = problem === undefined ? counts : { ...counts, problem: problem.message };
    if (active === undefined) return { state: 'none', ...trouble };
    const { notAfter, spiffeId } = active.credentials;
    const leftMs = notAfter - clock.wallNow();
    const state = leftMs <= 0 ? 'expired' : leftMs <= (notAfter - acceptedAt) / 2 ? 'due' : 'valid';
    return { state, spiffeId, expirySeconds: Math.floor(leftMs / 1_000), rotatedAt: acceptedAt, ...trouble };
  };

  return {
    current: valid,
    health,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    ready,
    lastProblem: () => problem,
    sink: {
      update: (credentials) => {
        if (closed) return;
        try {
          accept(credentials);
        } catch (error) {
          refuse(error instanceof Error ? error : new MeshError('ERR_MESH_NO_IDENTITY', String(error)));
        }
      },
      reject: (error) => {
        if (!closed) refuse(error);
      },
      lost: (reason) => {
        if (closed) return;
        lost++;
        if (!isNews(reason)) return;
        const meanwhile = active === undefined ? 'there is none yet' : 'the last one stays';
        logger.warn({ error: reason.message }, `the source of identities is out of reach; ${meanwhile}`);
      },
      warn: (warning) => {
        if (!closed) logger.warn({ warning: warning.message }, 'the identity is used, but should be kept better');
      },
    },
    close: () => {
      closed = true;
      stopWatching();
      listeners.clear();
    },
  };
}
