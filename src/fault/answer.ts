import type { Fault } from '../model/route.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/** The text of an aborted call; Envoy's. */
export const abortText = 'fault filter abort';

/** Is this the content type of a gRPC call? gRPC-Web is not one, as in Envoy. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType === 'application/grpc' || contentType?.startsWith('application/grpc+') === true;
}

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

/** gRPC's own table for answers that are HTTP only (doc/http-grpc-status-mapping.md). */
function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}
