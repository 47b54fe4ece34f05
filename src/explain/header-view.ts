import type { IncomingMessage } from 'node:http';

/** The headers and the target of a request in all the forms that Node has, for decisions that edit them. */
export interface RequestView {
  url: string;
  /** Names and values in turn, as received. */
  readonly rawHeaders: string[];
  readonly headers: Record<string, string | undefined>;
  readonly headersDistinct: Record<string, string[] | undefined>;
}

/** Of these Node keeps the first. */
const single: ReadonlySet<string> = new Set([
  ...['age', 'authorization', 'content-length', 'content-type', 'etag', 'expires', 'from', 'host', 'if-modified-since'],
  ...['if-unmodified-since', 'last-modified', 'location', 'max-forwards', 'proxy-authorization', 'referer'],
  ...['retry-after', 'server', 'user-agent'],
]);

/** A request that no socket has seen. */
export function requestView(rawHeaders: readonly string[], url: string): RequestView {
  const view: RequestView = {
    url,
    rawHeaders: [...rawHeaders],
    headers: Object.create(null) as RequestView['headers'],
    headersDistinct: Object.create(null) as RequestView['headersDistinct'],
  };
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    const before = view.headers[name];
    (view.headersDistinct[name] ??= []).push(value);
    if (before === undefined) view.headers[name] = value;
    else if (!single.has(name)) view.headers[name] = `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
  }
  return view;
}

/** Sets a header in the name of the mesh, in place of what the caller sent. `name` in lower case. */
export function setHeader(view: RequestView, name: string, value: string): void {
  for (let i = view.rawHeaders.length - 2; i >= 0; i -= 2) {
    if ((view.rawHeaders[i] as string).toLowerCase() === name) view.rawHeaders.splice(i, 2);
  }
  view.headers[name] = value;
  view.headersDistinct[name] = [value];
  view.rawHeaders.push(name, value);
}

/** As the functions that edit requests want it: they look at nothing else. */
export function asRequest(view: RequestView): IncomingMessage {
  return view as unknown as IncomingMessage;
}

/** Node reads each byte of a header as one character. */
export function inBytes(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** The other way round, for people. */
export function fromBytes(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : Buffer.from(text, 'latin1').toString('utf8');
}

/** Headers as the application sees them: lower case, in the order of arrival. */
export function headersOf({ headers }: RequestView): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, fromBytes(value)]])),
  );
}
