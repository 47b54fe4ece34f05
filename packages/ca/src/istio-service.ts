import { type Clock, type Logger, readPemCertificates } from 'inmesh/identity';
import { type Attestor, attest } from './attest.ts';
import type { Authority } from './authority-types.ts';
import { grpcStatus, type UnaryAnswer, type UnaryCall, type UnaryService } from './grpc-unary.ts';
import { type IstioCertificateRequest, readCertificateRequest, writeCertificateResponse } from './istio-messages.ts';
import type { RateLimiter } from './rate-limit.ts';
import { type RefusalReason, reasonOf, refusal, refusals } from './refusal.ts';

/** What the service needs of its surroundings. */
export interface IstioServiceParts {
  readonly authority: Authority;
  readonly attestors: readonly Attestor[];
  readonly limiter: RateLimiter;
  readonly clock: Clock;
  readonly logger: Logger;
}

const method = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/** Istio's default `MAX_WORKLOAD_CERT_TTL`, 90 days: who asks for more is refused. */
const maxValiditySeconds = 7_776_000n;

/** gRPC status by reason. Where istiod has the same reason, the status is that of istiod. */
const statuses: Readonly<Record<RefusalReason, Exclude<UnaryAnswer, { message: Uint8Array }>['status']>> = {
  bad_request: grpcStatus.invalidArgument,
  bad_csr: grpcStatus.invalidArgument,
  weak_key: grpcStatus.invalidArgument,
  unauthenticated: grpcStatus.unauthenticated,
  token_invalid: grpcStatus.unauthenticated,
  identity_mismatch: grpcStatus.permissionDenied,
  key_reused: grpcStatus.permissionDenied,
  revoked: grpcStatus.permissionDenied,
  conflict: grpcStatus.invalidArgument,
  not_found: grpcStatus.unimplemented,
  method_not_allowed: grpcStatus.unimplemented,
  too_large: grpcStatus.resourceExhausted,
  rate_limited: grpcStatus.resourceExhausted,
  internal: grpcStatus.internal,
  unavailable: grpcStatus.unavailable,
};

/**
 * Istio's own way to ask for certificates, `istio.v1.auth.IstioCertificateService`, so that what
 * gets its certificates from istiod can get them here. As in istiod, the identity is that of the
 * caller (its certificate, else the token in `authorization: Bearer`), whatever names are in the
 * request. The wanted life is shortened to that of this authority.
 */
export function istioService(parts: IstioServiceParts): UnaryService {
  return {
    methods: new Map([[method, (call: UnaryCall) => createCertificate(parts, call)]]),
    admit: (socket) =>
      parts.limiter.take(socket.remoteAddress ?? 'unknown') ? undefined : 'too many requests; try again in a second',
    maxMessageBytes: 24_576,
    callTimeoutMs: 15_000,
    idleMs: 30_000,
    clock: parts.clock,
  };
}

async function createCertificate(parts: IstioServiceParts, call: UnaryCall): Promise<UnaryAnswer> {
  const { authority, logger } = parts;
  const remote = call.socket.remoteAddress ?? 'unknown';
  let request: IstioCertificateRequest;
  try {
    request = readCertificateRequest(call.message);
  } catch {
    return { status: grpcStatus.internal, reason: 'the message is no IstioCertificateRequest' };
  }
  try {
    const attestation = await attest(parts.attestors, evidenceOf(call));
    if ((request.metadata.get('ImpersonatedIdentity') ?? '') !== '') {
      throw refusal('unauthenticated', 'nobody may ask for the certificates of others here');
    }
    const ttlMs = ttlOf(request);
    const issued = authority.certify(request.csr, attestation, {
      names: 'ignore',
      ...(ttlMs === undefined ? {} : { ttlMs }),
    });
    logger.info(
      { spiffeId: issued.spiffeId, serial: issued.serial, remote, by: attestation.by },
      'issued a certificate',
    );
    const chain = readPemCertificates(issued.certificateChainPem, 'certificate chain').map(String);
    return { message: writeCertificateResponse([...chain, issued.rootPem]) };
  } catch (error) {
    const reason = reasonOf(error) ?? 'internal';
    const fields = { reason, error: error instanceof Error ? error.message : String(error), remote };
    if (refusals[reason] >= 500) logger.error(fields, 'a request failed');
    else logger.warn(fields, 'a request was refused');
    const message = reason === 'internal' ? 'the authority failed; see its log' : (error as Error).message;
    return { status: statuses[reason], reason: message };
  }
}

function evidenceOf({ headers, socket }: UnaryCall): Parameters<typeof attest>[1] {
  const { authorization } = headers;
  const clusterId = headers['clusterid'];
  return {
    socket,
    ...(authorization?.startsWith('Bearer ') === true ? { token: authorization.slice('Bearer '.length) } : {}),
    // Sent twice it counts as not sent, as in istiod.
    ...(typeof clusterId === 'string' && clusterId !== '' && !clusterId.includes(',') ? { clusterId } : {}),
  };
}

/** Istio: no positive duration means the default; the longest that can be asked for is 90 days. */
function ttlOf({ validityDuration }: IstioCertificateRequest): number | undefined {
  if (validityDuration <= 0n) return undefined;
  if (validityDuration > maxValiditySeconds) {
    throw refusal('bad_request', `a life of ${validityDuration} s was asked for; the most is ${maxValiditySeconds} s`);
  }
  return Number(validityDuration) * 1_000;
}
