import { IncomingMessage } from 'node:http';

/**
 * Where Node keeps how much of the raw list the other views are made of, on first use, and the view of
 * that kind that is seldom asked for: as long as it was not, what is taken out of the raw list, or
 * pushed to it, and counted is right in all of them at no cost. Without these it has to be made here.
 */
const [headersCount, distinctView] = symbolsOfNode();

function symbolsOfNode(): readonly (symbol | undefined)[] {
  const probe = new IncomingMessage(null as never);
  // Made on first use, symbol and all.
  void probe.headersDistinct;
  const symbols = Object.getOwnPropertySymbols(probe);
  return ['kHeadersCount', 'kHeadersDistinct'].map((name) => symbols.find(({ description }) => description === name));
}

type Inner = { [symbol: symbol]: unknown };

/** The raw list is the whole truth still: nobody has asked for the distinct view, or changed the list behind Node's back. */
function isWholeTruth(request: IncomingMessage): boolean {
  if (headersCount === undefined || distinctView === undefined) return false;
  const inner = request as unknown as Inner;
  return inner[headersCount] === request.rawHeaders.length && (inner[distinctView] ?? undefined) === undefined;
}

/**
 * Sets a header of a request in the name of the mesh, replacing what the caller sent, in every view
 * of its headers that Node offers. `name` must be lower case.
 */
export function setRequestHeader(request: IncomingMessage, name: string, value: string): void {
  const { headers, rawHeaders } = request;
  removeRequestHeader(request, name);
  if (isWholeTruth(request)) (request as unknown as Inner)[headersCount as symbol] = rawHeaders.length + 2;
  else distinctOf(request)[name] = [value];
  headers[name] = value;
  rawHeaders.push(name, value);
}

/** Removes a header of a request from every view of its headers that Node offers. `name` must be lower case. */
export function removeRequestHeader(request: IncomingMessage, name: string): void {
  const { headers, rawHeaders } = request;
  if (headers[name] === undefined) return;
  const whole = isWholeTruth(request);
  // The view is made from the raw list, so before that list shrinks.
  if (!whole) delete distinctOf(request)[name];
  delete headers[name];
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    const raw = rawHeaders[i] as string;
    if (raw.length === name.length && raw.toLowerCase() === name) rawHeaders.splice(i, 2);
  }
  if (whole) (request as unknown as Inner)[headersCount as symbol] = rawHeaders.length;
}

/** Requests of HTTP/2 servers do not have this view. */
function distinctOf(request: IncomingMessage): Partial<IncomingMessage['headersDistinct']> {
  return request.headersDistinct ?? {};
}
