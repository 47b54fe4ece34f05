import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { causeOf } from 'inmesh';
import { grpcStatusOf, grpcStatusOfError, printable } from 'inmesh/grpc';
import { systemClock } from 'inmesh/identity';

/** Headers or trailers, names in lower case. */
export type Fields = Readonly<Record<string, string | string[] | undefined>>;

export function statusOf(code: number, details: string, metadata: Metadata = new Metadata()): StatusObject {
  return { code, details, metadata };
}

/**
 * What trailers, or a response of headers only, say of the end of a call; nothing when they do not.
 * Codes that gRPC does not know are UNKNOWN.
 */
export function statusIn(fields: Fields): StatusObject | undefined {
  const given = fields['grpc-status'];
  if (given === undefined) return undefined;
  const metadata = metadataOf(fields);
  metadata.remove('grpc-status');
  metadata.remove('grpc-message');
  const code = typeof given === 'string' && /^\d{1,2}$/.test(given) ? Number(given) : -1;
  const text = fields['grpc-message'];
  const details = typeof text === 'string' ? decodeMessage(text) : '';
  if (code >= 0 && code <= 16) return statusOf(code, details, metadata);
  return statusOf(
    status.UNKNOWN,
    details === '' ? `unknown gRPC status ${printable(String(given), 40)}` : details,
    metadata,
  );
}

/** A response that is none of gRPC (http-grpc-status-mapping of gRPC). */
export function statusOfHttp(httpStatus: number, headers: Fields): StatusObject {
  const code = headers['x-inmesh-error'];
  const ours = typeof code === 'string' ? ` (${printable(code, 60)})` : '';
  const type =
    httpStatus === 200 ? ` with content type ${printable(String(headers['content-type'] ?? 'none'), 100)}` : '';
  return statusOf(
    grpcStatusOf(httpStatus),
    `Received HTTP status code ${httpStatus}${type}${ours}`,
    metadataOf(headers),
  );
}

/**
 * As {@link statusOfFailure} of a call that is under way; what is no failure of the mesh is an abort. Nothing where the
 * server was the first to see that the deadline (milliseconds since the epoch) has passed.
 */
export function statusInTime(error: Error, deadline: number): StatusObject | undefined {
  if (causeOf(error) === undefined) return statusOf(status.CANCELLED, error.message);
  const failure = statusOfFailure(error);
  return failure.code === status.CANCELLED && systemClock.wallNow() >= deadline ? undefined : failure;
}

/** A call that has no response, or only a part of one: why the mesh, or the connection, failed it. */
export function statusOfFailure(error: Error): StatusObject {
  const failure = causeOf(error);
  if (failure === undefined) return statusOf(status.INTERNAL, error.message);
  return statusOf(grpcStatusOfError(failure), `${failure.message} (${failure.code})`);
}

/** What only services say of a call, and nobody on the way to them (gRFC A54). */
const ofServices: ReadonlySet<number> = new Set([
  status.OK,
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.DATA_LOSS,
]);

/** Credentials that a call was to have, and did not get. Whatever was thrown is told of. */
export function statusOfCredentials(error: unknown): StatusObject {
  const { code, message = String(error) } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  const text = `Getting metadata from plugin failed with error: ${message}`;
  if (typeof code !== 'number') return statusOf(status.UNAUTHENTICATED, text);
  const known = status[code] !== undefined && !ofServices.has(code);
  return known ? statusOf(code, text) : statusOf(status.INTERNAL, `Invalid status from control plane: ${code} ${text}`);
}

/**
 * Metadata of a response. What gRPC cannot carry is left out without a word: grpc-js's own reader
 * writes names and values of such to stderr, and a value may be a secret.
 */
export function metadataOf(fields: Fields): Metadata {
  const metadata = new Metadata();
  for (const name of Object.keys(fields)) {
    const given = fields[name];
    if (given === undefined || name.startsWith(':')) continue;
    const binary = name.endsWith('-bin');
    // Several binary values are one header, too; base64 has no commas.
    const values = typeof given === 'string' ? (binary ? given.split(',') : [given]) : given;
    for (const value of values) {
      try {
        metadata.add(name, binary ? Buffer.from(value.trim(), 'base64') : value);
      } catch {
        // A name or a value with characters that no metadata has.
      }
    }
  }
  return metadata;
}

/** `grpc-message` is percent-encoded UTF-8; what is not well encoded stays as it is (gRPC over HTTP/2). */
export function decodeMessage(text: string): string {
  if (!text.includes('%')) return text;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const hex = text.charCodeAt(i) === 0x25 ? text.slice(i + 1, i + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(text.charCodeAt(i) & 0xff);
  }
  return Buffer.from(bytes).toString('utf8');
}
