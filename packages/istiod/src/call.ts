import { createSecureContext, type PeerCertificate, checkServerIdentity as tlsCheckServerIdentity } from 'node:tls';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type Clock, type Credentials, MeshError, meshCiphers, printable } from 'inmesh/identity';
import { readCertificateResponse, writeCertificateRequest } from './messages.ts';

/** One try. */
export interface CertificateCall {
  readonly address: string;
  /** DNS name that the server's certificate must have. */
  readonly serverName: string;
  /** Roots that it must chain to, PEM. */
  readonly roots: readonly string[];
  readonly csrPem: string;
  readonly ttlMs: number;
  readonly clusterId: string;
  readonly certSigner: string | undefined;
  /** Who asks: the one of the token, or the one of the certificate that is held. */
  readonly proof: { readonly token: string } | { readonly held: Credentials };
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Whether another try may help: istio-agent's list of gRPC statuses. */
const transient: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.INTERNAL,
  status.UNAVAILABLE,
]);

/** A try that failed, with whether another one may not. */
export class CallFailure extends MeshError {
  readonly transient: boolean;
  constructor(message: string, isTransient: boolean) {
    super('ERR_MESH_CA', message);
    this.transient = isTransient;
  }
}

/** Largest answer that is read: a chain, and roots. */
const maxAnswerBytes = 1_048_576;

/**
 * Asks once, on a connection of its own: a connection that failed, or that was made with a root
 * that is gone, does not last to the next try.
 *
 * @returns `cert_chain` of the answer
 * @throws CallFailure
 */
export function createCertificate(call: CertificateCall): Promise<readonly string[]> {
  const { address, clock, proof, serverName, signal, timeoutMs } = call;
  // An abort before the listener is there would not be announced again.
  if (signal.aborted) return Promise.reject(new CallFailure(`${address} is no longer needed`, true));
  const secureContext = createSecureContext({
    ca: [...call.roots],
    ciphers: meshCiphers,
    minVersion: 'TLSv1.2',
    ...('held' in proof ? { cert: proof.held.certificateChainPem, key: proof.held.privateKeyPem } : {}),
  });
  const client = new Client(
    address,
    credentials.createFromSecureContext(secureContext, {
      checkServerIdentity: (_host: string, certificate: PeerCertificate) => checkName(serverName, certificate),
    }),
    {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.max_receive_message_length': maxAnswerBytes,
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
    },
  );
  const metadata = new Metadata();
  metadata.set('clusterid', call.clusterId);
  if ('token' in proof) metadata.set('authorization', `Bearer ${proof.token}`);
  const request = writeCertificateRequest({
    csr: call.csrPem,
    validitySeconds: Math.floor(call.ttlMs / 1_000),
    metadata: call.certSigner === undefined ? {} : { CertSigner: call.certSigner },
  });
  return new Promise((resolve, reject) => {
    const answered = (error: ServiceError | null, bytes?: Buffer): void => {
      cancelLimit();
      signal.removeEventListener('abort', abort);
      client.close();
      try {
        if (error === null) resolve(readCertificateResponse(bytes ?? Buffer.alloc(0)));
        else reject(failureOf(address, error));
      } catch (cause) {
        reject(new CallFailure(`${address} gave an answer that cannot be read: ${String(cause)}`, false));
      }
    };
    const unary = client.makeUnaryRequest(
      '/istio.v1.auth.IstioCertificateService/CreateCertificate',
      raw,
      raw,
      request,
      metadata,
      answered,
    );
    const abort = (): void => unary.cancel();
    signal.addEventListener('abort', abort);
    const cancelLimit = clock.after(timeoutMs, () => {
      reject(new CallFailure(`${address} did not answer within ${timeoutMs} ms`, true));
      unary.cancel();
    });
  });
}

const raw = (value: Buffer): Buffer => value;

/** Names of the kind DNS only, as in Go: a common name is no name. */
function checkName(serverName: string, certificate: PeerCertificate): Error | undefined {
  if (!/(^|, )DNS:/.test(certificate.subjectaltname ?? '')) {
    return new Error(`the certificate of istiod has no DNS name, expected ${serverName}`);
  }
  return tlsCheckServerIdentity(serverName, certificate);
}

function failureOf(address: string, { code, details, message }: ServiceError): CallFailure {
  // Without the error as the cause: grpc-js keeps the metadata of the call with it.
  const reason = printable(details || message);
  const isTransient = transient.has(code);
  const verb = isTransient ? 'is out of reach' : 'refused';
  return new CallFailure(`${address} ${verb}: ${status[code] ?? code}: ${reason}`, isTransient);
}
