import type { Duplex } from 'node:stream';
import { type Dispatcher, errors } from 'undici';

/**
 * Handlers of undici 6 and 7, which Node 22 and 24 bundle for their global fetch: raw headers, and
 * `false` as an answer instead of `controller.pause()`.
 */
interface OldHandler {
  onConnect?(abort: (reason?: Error) => void, context?: unknown): void;
  onUpgrade?(status: number, rawHeaders: Buffer[], socket: Duplex): void;
  onHeaders?(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean | undefined;
  onData?(chunk: Buffer): boolean | undefined;
  onComplete?(rawTrailers: Buffer[]): void;
  onError?(error: Error): void;
  onResponseStarted?(): void;
  onBodySent?(chunk: Buffer): void;
  onRequestSent?(): void;
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;
type RawHeaders = Dispatcher.DispatchController['rawHeaders'];

/**
 * Accepts the handler of any undici generation and returns one of generation 8, so that
 * `fetch(url, { dispatcher })` works with the global fetch of Node 22, 24 and 26, whatever undici
 * is bundled there. A handler of generation 8 comes back as it is.
 *
 * undici 8 has such an adapter too, but it takes the `false` with which Node 24's fetch answers a
 * 1xx response as a wish to pause: a final response without body would then hold its connection for ever.
 *
 * @throws undici's `InvalidArgumentError` when `handler` is not an object.
 */
export function asHandler(handler: unknown): Dispatcher.DispatchHandler {
  if (typeof handler !== 'object' || handler === null) {
    throw new errors.InvalidArgumentError('handler must be an object');
  }
  const candidate = handler as Dispatcher.DispatchHandler & OldHandler;
  // Node 24's fetch has onRequestUpgrade beside the old methods, so only this name tells.
  if (typeof candidate.onRequestStart === 'function') return candidate;
  // Neither generation: undici says which method is missing.
  if (typeof candidate.onConnect !== 'function') return candidate;
  return adapt(candidate);
}

function adapt(old: OldHandler): Dispatcher.DispatchHandler {
  return {
    onRequestStart(controller, context) {
      old.onConnect?.((reason) => controller.abort(reason ?? new errors.RequestAbortedError()), context);
    },
    onRequestUpgrade(controller, status, headers, socket) {
      if (typeof old.onUpgrade !== 'function') {
        socket.destroy();
        throw new errors.InvalidArgumentError('invalid onUpgrade method');
      }
      old.onUpgrade(status, toRawHeaders(controller.rawHeaders, headers), socket);
    },
    onResponseStart(controller, status, headers, statusText) {
      const raw = toRawHeaders(controller.rawHeaders, headers);
      const more = old.onHeaders?.(status, raw, () => controller.resume(), statusText ?? '');
      // A 1xx response has no body that could be paused (RFC 9110 section 15.2).
      if (more === false && status >= 200) controller.pause();
    },
    onResponseData(controller, chunk) {
      if (old.onData?.(chunk) === false) controller.pause();
    },
    onResponseEnd(controller, trailers) {
      old.onComplete?.(toRawHeaders(controller.rawTrailers, trailers));
    },
    onResponseError(_controller, error) {
      if (typeof old.onError !== 'function') throw error;
      old.onError(error);
    },
    onResponseStarted: () => old.onResponseStarted?.(),
    onBodySent: (chunk) => old.onBodySent?.(chunk),
    onRequestSent: () => old.onRequestSent?.(),
  };
}

/**
 * Headers as they stood on the wire: name, value, name, value, as buffers. What undici kept is
 * used as it is; a reply that the mesh made itself, or one from HTTP/2, is converted.
 */
export function toRawHeaders(raw: RawHeaders | undefined, headers: Headers | undefined): Buffer[] {
  if (Array.isArray(raw)) {
    return raw.every((item) => Buffer.isBuffer(item)) ? raw : raw.map((item) => toBytes(item));
  }
  const list: Buffer[] = [];
  for (const [name, value] of Object.entries(headers ?? {})) {
    // Pseudo-headers of HTTP/2 (`:status`) are not header fields.
    if (value === undefined || name.startsWith(':')) continue;
    for (const item of typeof value === 'string' ? [value] : value) list.push(toBytes(name), toBytes(item));
  }
  return list;
}

/** Header bytes are latin1 (RFC 9110 section 5.5), which is also how undici and fetch read them. */
function toBytes(item: string | Buffer): Buffer {
  return typeof item === 'string' ? Buffer.from(item, 'latin1') : item;
}
