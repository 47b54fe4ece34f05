import type { IncomingMessage } from 'node:http';

/** Gives a request another target, in each place where the application could read it. */
export function setRequestTarget(request: IncomingMessage, url: string): void {
  request.url = url;
  if (request.httpVersionMajor !== 2) return;
  // Requests of HTTP/2 servers have the target among their headers as well.
  const { headers, rawHeaders } = request;
  headers[':path'] = url;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i] === ':path') rawHeaders[i + 1] = url;
}
