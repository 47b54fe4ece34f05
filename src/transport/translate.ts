import { MeshError, type MeshErrorCode } from '../errors.ts';
import { type FailureKind, failureKind } from '../lib/failure-kind.ts';
import type { ClientCall } from '../pipeline/client-call.ts';
import { StreamFailure, type StreamFailureKind } from './stream-failure.ts';

const words: Readonly<Record<FailureKind, { readonly code: MeshErrorCode; readonly what: string }>> = {
  connect: { code: 'ERR_MESH_CONNECT_FAILED', what: 'could not be reached' },
  tls: { code: 'ERR_MESH_TLS_FAILED', what: 'failed the TLS handshake' },
  reset: { code: 'ERR_MESH_UPSTREAM_RESET', what: 'broke the connection' },
  protocol: { code: 'ERR_MESH_UPSTREAM_PROTOCOL', what: 'did not answer in HTTP' },
  timeout: { code: 'ERR_MESH_TRY_TIMEOUT', what: 'did not answer in time' },
};

const ofStreams: Readonly<Record<StreamFailureKind, { readonly code: MeshErrorCode; readonly what: string }>> = {
  unsent: { code: 'ERR_MESH_STREAM_REFUSED', what: 'did not take the request' },
  refused: { code: 'ERR_MESH_STREAM_REFUSED', what: 'did not take the request' },
  reset: { code: 'ERR_MESH_STREAM_RESET', what: 'broke the request off' },
  protocol: { code: 'ERR_MESH_UPSTREAM_PROTOCOL', what: 'broke the rules of HTTP' },
  closed: words.reset,
  timeout: words.timeout,
};

/**
 * Names what happened to a try in the mesh's words. The application's own abort and its mistakes
 * (a header that is not valid, a body that fails) stay what they are: they say nothing about the
 * endpoint, and must not eject it.
 */
export function translateError(error: Error, call: ClientCall): Error {
  if (error instanceof MeshError || call.aborted || error === failureOf(call.request.body)) return error;
  const word = wordOf(error);
  if (word === undefined) return error;
  const { route, cluster } = call;
  const endpoint = call.endpoint?.name ?? '';
  const { code, what } = word;
  return new MeshError(code, `${endpoint} ${what}: ${error.message}`, { cause: error, route, cluster, endpoint });
}

function wordOf(error: Error): { readonly code: MeshErrorCode; readonly what: string } | undefined {
  if (error instanceof StreamFailure) return ofStreams[error.kind];
  const kind = failureKind(error);
  return kind === undefined ? undefined : words[kind];
}

/** Why the request body broke off, when it is a stream and did. */
function failureOf(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return undefined;
  return (body as { readonly errored?: unknown }).errored ?? undefined;
}
