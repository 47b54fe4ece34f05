import { types } from 'node:util';

/** What went wrong on the way to a server, as far as the error tells. */
export type FailureKind =
  /** No connection came about: no byte of the request has left. */
  | 'connect'
  /** The TLS handshake failed: no byte of the request has left. */
  | 'tls'
  /** The connection broke. */
  | 'reset'
  /** What arrived on the connection was not HTTP, or breaks its rules. */
  | 'protocol'
  /** Nothing arrived for too long. */
  | 'timeout';

const byCode: ReadonlyMap<string, FailureKind> = new Map([
  ['ECONNREFUSED', 'connect'],
  ['EHOSTUNREACH', 'connect'],
  ['EHOSTDOWN', 'connect'],
  ['ENETUNREACH', 'connect'],
  ['ENETDOWN', 'connect'],
  ['EADDRNOTAVAIL', 'connect'],
  ['EMFILE', 'connect'],
  ['ENFILE', 'connect'],
  ['ENOENT', 'connect'],
  ['ENOTFOUND', 'connect'],
  ['UND_ERR_CONNECT_TIMEOUT', 'connect'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'tls'],
  ['HOSTNAME_MISMATCH', 'tls'],
  // These may come in the middle of a connection as well: a request may have been sent.
  ['EPROTO', 'reset'],
  ['UND_ERR_SOCKET', 'reset'],
  ['UND_ERR_DESTROYED', 'reset'],
  ['UND_ERR_CLOSED', 'reset'],
  ['UND_ERR_HEADERS_OVERFLOW', 'protocol'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'protocol'],
  ['UND_ERR_RES_EXCEEDED_MAX_SIZE', 'reset'],
  ['ERR_HTTP2_STREAM_ERROR', 'reset'],
  ['UND_ERR_HEADERS_TIMEOUT', 'timeout'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout'],
] as const);

/** Errors of these come from a socket of ours only when the system says which operation failed. */
const systemCodes: ReadonlySet<string> = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT']);

/** What undici says of a 100 or 101 that nobody has asked for. */
const unasked: ReadonlySet<string> = new Set(['bad response', 'bad upgrade']);

/**
 * undici's reader of HTTP/1 takes some things that servers may send for mistakes of its own (a 101 without headers). It has
 * called, further down in the stack, what applications give it, too: bodies to send, and readers of responses.
 */
function isOfParser(error: Error): boolean {
  const { generatedMessage } = error as { readonly generatedMessage?: unknown };
  if (generatedMessage !== true) return false;
  const [, thrower = ''] = /\n {4}at (.*)/.exec(error.stack ?? '') ?? [];
  return thrower.includes('client-h1') || thrower.startsWith('Parser.on');
}

const byPrefix: readonly (readonly [string, FailureKind])[] = [
  ['EAI_', 'connect'],
  ['CERT_', 'tls'],
  ['UNABLE_TO_', 'tls'],
  ['ERR_SSL_', 'reset'],
  // Of node:http.
  ['HPE_', 'protocol'],
];

/**
 * Recognises errors of the network, of TLS and of undici. Nothing for all others, which are of the
 * application's making: its abort, a header that is not valid, a body that failed while it was
 * read (an inbound request that was cut off has the code `ECONNRESET` too, but no `syscall`).
 */
export function failureKind(error: unknown): FailureKind | undefined {
  // Not `instanceof`: where a test runner loads modules into a context of its own, errors of Node are of another `Error`.
  if (!types.isNativeError(error)) return undefined;
  const { code, syscall } = error as NodeJS.ErrnoException;
  // undici 8 leaves the code of these undefined.
  if (error.name === 'HTTPParserError') return 'protocol';
  if (typeof code !== 'string') return undefined;
  if (code === 'UND_ERR_SOCKET' && unasked.has(error.message)) return 'protocol';
  if (code === 'ERR_ASSERTION') return isOfParser(error) ? 'protocol' : undefined;
  if (systemCodes.has(code)) {
    if (syscall === 'connect') return 'connect';
    // node:tls names the host when the connection breaks during the handshake.
    if (syscall === undefined) return 'host' in error ? 'tls' : undefined;
    return 'reset';
  }
  return byCode.get(code) ?? byPrefix.find(([prefix]) => code.startsWith(prefix))?.[1];
}
