/**
 * Headers that concern one connection and not the request, in lower case: a proxy takes them away before its
 * policies see them, so they are as if they were not there (Envoy `mutateRequestHeaders`, gRFC A41).
 */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
]);
