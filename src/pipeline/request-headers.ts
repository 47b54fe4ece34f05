import { IncomingMessage } from 'node:http';

/**
 * Where Node keeps how much of the raw list the other views are made of, on first use: what is pushed
 * to the list and counted is in all of them at no cost. Without it they have to be made here.
 */
const headersCount = Object.getOwnPropertySymbols(new IncomingMessage(null as never)).find(
  ({ description }) => description === 'kHeadersCount',
);

type Counted = { [count: symbol]: unknown };

/**
 * Sets a header of a request in the name of the mesh, replacing what the caller sent, in every view
 * of its headers that Node offers. `name` must be lower case.
 */
export function setRequestHeader(request: IncomingMessage, name: string, value: string): void {
  const { headers, rawHeaders } = request;
  removeRequestHeader(request, name);
  // A list that was made shorter: all views exist by then, and are not made anew.
  if (headersCount !== undefined && (request as unknown as Counted)[headersCount] === rawHeaders.length) {
    (request as unknown as Counted)[headersCount] = rawHeaders.length + 2;
  } else {
    distinctOf(request)[name] = [value];
  }
  headers[name] = value;
  rawHeaders.push(name, value);
}

/** Removes a header of a request from every view of its headers that Node offers. `name` must be lower case. */
export function removeRequestHeader(request: IncomingMessage, name: string): void {
  const { headers, rawHeaders } = request;
  if (headers[name] === undefined) return;
  // This view is made from the raw list on first use; make it before that list shrinks.
  delete distinctOf(request)[name];
  delete headers[name];
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    if ((rawHeaders[i] as string).toLowerCase() === name) rawHeaders.splice(i, 2);
  }
}

/** Requests of HTTP/2 servers do not have this view. */
function distinctOf(request: IncomingMessage): Partial<IncomingMessage['headersDistinct']> {
  return request.headersDistinct ?? {};
}
