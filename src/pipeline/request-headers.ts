import type { IncomingMessage } from 'node:http';

/**
 * Sets a header of a request in the name of the mesh, replacing what the caller sent, in every view
 * of its headers that Node offers. `name` must be lower case.
 */
export function setRequestHeader(request: IncomingMessage, name: string, value: string): void {
  const { headers, rawHeaders } = request;
  if (headers[name] !== undefined) {
    removeRequestHeader(request, name);
    // That view exists by now, and is not made anew.
    const distinct: Partial<IncomingMessage['headersDistinct']> = request.headersDistinct ?? {};
    distinct[name] = [value];
  }
  headers[name] = value;
  rawHeaders.push(name, value);
}

/** Removes a header of a request from every view of its headers that Node offers. `name` must be lower case. */
export function removeRequestHeader(request: IncomingMessage, name: string): void {
  const { headers, rawHeaders } = request;
  // This view is made from the raw list on first use; make it before that list shrinks.
  // Requests of HTTP/2 servers do not have it.
  const distinct: Partial<IncomingMessage['headersDistinct']> = request.headersDistinct ?? {};
  delete distinct[name];
  delete headers[name];
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    if ((rawHeaders[i] as string).toLowerCase() === name) rawHeaders.splice(i, 2);
  }
}
