import type { IncomingMessage } from 'node:http';

/**
 * Sets a header of a request in the name of the mesh, replacing what the caller sent, in every view
 * of its headers that Node offers. `name` must be lower case.
 */
export function setRequestHeader(request: IncomingMessage, name: string, value: string): void {
  const { headers, rawHeaders } = request;
  const replaces = headers[name] !== undefined;
  if (replaces) {
    // This view is made from the raw list on first use; make it before that list shrinks.
    // Requests of HTTP/2 servers do not have it.
    const distinct: Partial<IncomingMessage['headersDistinct']> = request.headersDistinct ?? {};
    distinct[name] = [value];
    for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
      if ((rawHeaders[i] as string).toLowerCase() === name) rawHeaders.splice(i, 2);
    }
  }
  headers[name] = value;
  rawHeaders.push(name, value);
}
