import type { ServerResponse } from 'node:http';

/**
 * Is the connection gone that a response was for? Asked by whoever comes late: `close` is not emitted
 * again. Responses of Node's compatibility API for HTTP/2 do not say; their stream does.
 */
export function isResponseClosed(response: ServerResponse): boolean {
  const { stream } = response as ServerResponse & { readonly stream?: { readonly closed: boolean } };
  return response.closed || response.destroyed || stream?.closed === true;
}
