/** What a gRPC call is told in place of an HTTP answer (gRPC over HTTP/2: PROTOCOL-HTTP2). */

/** Is this the content type of a gRPC call? gRPC-Web is not one, as in Envoy. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType === 'application/grpc' || contentType?.startsWith('application/grpc+') === true;
}

/** gRPC's own table for answers that are HTTP only (doc/http-grpc-status-mapping.md). */
export function grpcStatusOf(status: number): number {
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

/** A text as `grpc-message` carries it: bytes outside of printable ASCII, and `%`, percent-encoded. */
export function grpcMessage(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
