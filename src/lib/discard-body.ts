/**
 * Gives back what a request body holds (a file, an inbound request) when nobody will read it: the
 * call was answered without sending it.
 */
export function discardBody(body: unknown): void {
  if (typeof body !== 'object' || body === null) return;
  const { cancel, destroy, locked, return: finish } = body as Discardable;
  if (typeof destroy === 'function') destroy.call(body);
  else if (typeof cancel === 'function') {
    if (locked !== true) settle(() => cancel.call(body));
  } else if (typeof finish === 'function') settle(() => finish.call(body));
}

/** A stream of Node, a web stream, a generator. */
interface Discardable {
  readonly destroy?: () => void;
  readonly cancel?: () => unknown;
  readonly locked?: boolean;
  readonly return?: () => unknown;
}

/** What clearing up throws concerns nobody any more. */
function settle(action: () => unknown): void {
  Promise.resolve().then(action).catch(ignore);
}

const ignore = (): void => {};
