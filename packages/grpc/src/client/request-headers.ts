import type { Metadata } from '@grpc/grpc-js';
import { acceptedEncodings, type Encoding } from './compression.ts';

/** Headers as the mesh takes them: name, value, name, value. */
export type Headers = (string | string[])[];

/** Written by the client itself, whatever metadata has under these names; or not for HTTP/2. */
const reserved: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-previous-rpc-attempts',
  'grpc-status',
  'grpc-timeout',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'user-agent',
]);

export interface HeadOf {
  readonly userAgent: string;
  readonly encoding: Encoding;
  /** `:authority` in place of the target's. */
  readonly host: string | undefined;
}

/** The request headers of a call (gRPC over HTTP/2): ours, then those of its metadata. */
export function requestHeaders({ encoding, host, userAgent }: HeadOf, metadata: Metadata): Headers {
  const headers: Headers = [
    'content-type',
    'application/grpc',
    'te',
    'trailers',
    'user-agent',
    userAgent,
    'grpc-accept-encoding',
    acceptedEncodings,
    'accept-encoding',
    'identity',
  ];
  if (encoding !== 'identity') headers.push('grpc-encoding', encoding);
  if (host !== undefined) headers.push('host', host);
  addMetadata(headers, metadata);
  return headers;
}

/** Adds what stands in metadata; binary values are base64 then. */
export function addMetadata(headers: Headers, metadata: Metadata): void {
  const given = metadata.toHttp2Headers();
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === undefined || reserved.has(name) || name.startsWith(':')) continue;
    headers.push(name, Array.isArray(value) ? value.map(String) : String(value));
  }
}
