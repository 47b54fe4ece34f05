import { grpcStatusOf } from '../lib/grpc-answer.ts';
import type { Fault } from '../model/route.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/** The text of an aborted call; Envoy's. */
export const abortText = 'fault filter abort';

/**
 * The answer to an aborted call. A gRPC call gets a response of headers only with a gRPC status:
 * the configured one, or the one that stands for the configured HTTP status.
 */
export function abortAnswer({ grpcStatus, status }: NonNullable<Fault['abort']>, grpc: boolean): LocalAnswer {
  if (grpc) {
    const code = String(grpcStatus ?? grpcStatusOf(status));
    const headers = { 'content-type': 'application/grpc', 'grpc-status': code, 'grpc-message': abortText };
    return { status: 200, headers, flag: 'FI' };
  }
  const body = Buffer.from(abortText);
  const headers = { 'content-length': String(body.byteLength), 'content-type': 'text/plain' };
  return { status, headers, body, flag: 'FI' };
}
