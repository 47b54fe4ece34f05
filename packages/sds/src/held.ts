import { status } from '@grpc/grpc-js';
import type { Clock, Credentials, IdentitySink, Logger } from 'inmesh/identity';
import { combine, fits, type HeldCertificate, type HeldRoots, takeCertificate, takeRoots } from './combine.ts';
import { type DiscoveryResponse, type ErrorDetail, readDiscoveryResponse, secretType } from './discovery.ts';
import { type ReadSecret, readSecret } from './secret.ts';

/** What to tell the server about an answer. */
export interface Verdict {
  /** Version that is in force: that of the answer, or of the one before when it was refused. */
  readonly versionInfo: string;
  readonly nonce: string;
  /** There when the answer was refused. */
  readonly error?: ErrorDetail;
}

/** What is held of both secrets, beyond the life of a stream. */
export interface SecretsHeld {
  /** Takes one answer. Never throws. */
  take(bytes: Buffer): Promise<Verdict>;
  /** Names of the secrets that never came. */
  missing(): readonly string[];
  /** How many answers were accepted. */
  accepted(): number;
  acceptedVersion(): string;
  /** Whether the certificate should have been replaced by now: servers renew at half of a life, and a quarter is left. */
  overdue(): boolean;
  close(): void;
}

export interface SecretsHeldOptions {
  /** Names of the two secrets. */
  readonly certificate: string;
  readonly roots: string;
  readonly trustDomains: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sink: IdentitySink;
  readonly signal: AbortSignal;
}

/**
 * How long a certificate waits for roots that it chains to. Istio pushes the two one after the
 * other when its root changes; a server that never sends such roots must not hold up a renewal.
 */
const settleMs = 1_000;

/** Halves of an identity, put together whenever one of them arrives. */
export function secretsHeld(options: SecretsHeldOptions): SecretsHeld {
  const { clock, logger, signal, sink } = options;
  let certificate: HeldCertificate | undefined;
  let roots: HeldRoots | undefined;
  let accepted = 0;
  let version = '';
  let renewalDue = Number.POSITIVE_INFINITY;
  let cancelSettling = (): void => {};
  const noted = new Set<string>();

  const offer = (credentials: Credentials): void => {
    cancelSettling();
    if (signal.aborted) return;
    if (fits(credentials, clock.wallNow())) {
      sink.update(credentials);
      return;
    }
    cancelSettling = clock.after(settleMs, () => {
      if (!signal.aborted) sink.update(credentials);
    });
  };

  const note = ({ name, passedOver }: ReadSecret): void => {
    const fields = passedOver.filter((field) => !noted.has(field));
    if (fields.length === 0) return;
    for (const field of fields) noted.add(field);
    logger.warn({ secret: name, fields }, 'fields of a secret have no effect');
  };

  const takeAll = async (response: DiscoveryResponse): Promise<void> => {
    if (response.typeUrl !== '' && response.typeUrl !== secretType) throw new Error(`expected ${secretType}`);
    let [nextCertificate, nextRoots] = [certificate, roots];
    for (const secret of response.resources.map(readSecret)) {
      if (secret.name === options.certificate) nextCertificate = await takeCertificate(secret);
      else if (secret.name === options.roots) nextRoots = await takeRoots(secret);
      else continue;
      note(secret);
    }
    // An answer that lacks one of the two says nothing about it: the one that is held stays.
    if (nextCertificate !== undefined && nextRoots !== undefined) {
      const credentials = combine(nextCertificate, nextRoots, options.trustDomains, clock.wallNow());
      [certificate, roots] = [nextCertificate, nextRoots];
      renewalDue = credentials.notAfter - (credentials.notAfter - credentials.notBefore) / 4;
      offer(credentials);
    } else {
      [certificate, roots] = [nextCertificate, nextRoots];
    }
  };

  return {
    async take(bytes) {
      let nonce = '';
      try {
        const response = readDiscoveryResponse(bytes);
        nonce = response.nonce;
        await takeAll(response);
        version = response.versionInfo;
        accepted++;
        return { versionInfo: version, nonce };
      } catch (error) {
        const problem = error instanceof Error ? error : new Error(String(error));
        if (!signal.aborted) sink.reject(problem);
        const message = problem.message.slice(0, 1_000);
        return { versionInfo: version, nonce, error: { code: status.INVALID_ARGUMENT, message } };
      }
    },
    missing: () => [
      ...(certificate === undefined ? [options.certificate] : []),
      ...(roots === undefined ? [options.roots] : []),
    ],
    accepted: () => accepted,
    acceptedVersion: () => version,
    overdue: () => clock.wallNow() >= renewalDue,
    close: () => cancelSettling(),
  };
}
