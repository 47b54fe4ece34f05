import type { IncomingMessage, ServerResponse } from 'node:http';
import { causeOf, type FailureAnswer, MeshError, type MeshErrorCode } from '../errors.ts';

/** A response that says no more than its status does, in Envoy's words where it has them. */
const bodies: Partial<Record<MeshErrorCode, string>> = {
  ERR_MESH_FORBIDDEN: 'RBAC: access denied',
  ERR_MESH_MTLS_REQUIRED: 'mTLS required',
  ERR_MESH_RATE_LIMITED: 'rate limited',
  ERR_MESH_DEADLINE_EXPIRED: 'request timeout',
  ERR_MESH_NOT_READY: 'not ready',
  ERR_MESH_CONCURRENCY_LIMIT: 'reached concurrency limit',
  ERR_MESH_OVERLOADED: 'overloaded',
  ERR_MESH_CLOSED: 'closing',
  ERR_MESH_METHOD: 'method not allowed',
};

const statusWords: Readonly<Record<number, string>> = {
  400: 'bad request',
  401: 'unauthorized',
  403: 'access denied',
  413: 'payload too large',
  431: 'request header fields too large',
  505: 'HTTP version not supported',
};

/** A request body up to this size is read and dropped after a refusal; with a larger one the connection ends. */
const maxDroppedBody = 65_536;

/**
 * What a failure inside of the server pipeline means for the caller. Whatever is not a
 * {@link MeshError} went wrong while deciding, and no decision is a refusal: 403.
 */
export function failureOf(error: unknown): MeshError {
  return causeOf(error) ?? new MeshError('ERR_MESH_FORBIDDEN', 'deciding about the request failed', { cause: error });
}

/** The body that a caller sees for a failure. */
export function failureBody({ answerBody, code, status }: MeshError): string {
  return answerBody ?? bodies[code] ?? statusWords[status] ?? 'service unavailable';
}

/**
 * Answers a request with a failure: the status, the code in `x-inmesh-error`, and a body without
 * internals. The only place where an error of the server side becomes a response.
 */
export function answerFailure(request: IncomingMessage, response: ServerResponse, failure: MeshError): void {
  if (response.headersSent) {
    // Too late for a status; a cut connection at least cannot be taken for a whole response.
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  if (failure.answer !== undefined) {
    answerInTheirWords(request, response, failure, failure.answer);
    return;
  }
  const body = failureBody(failure);
  response.statusCode = failure.status;
  response.setHeader('content-type', 'text/plain');
  response.setHeader('content-length', body.length);
  response.setHeader('x-inmesh-error', failure.code);
  for (const [name, value] of failure.answerHeaders ?? []) response.setHeader(name, value);
  if (failure.code === 'ERR_MESH_CONCURRENCY_LIMIT' || failure.code === 'ERR_MESH_OVERLOADED') {
    // Envoy's mark for an answer given because of a limit: callers must not retry it blindly.
    response.setHeader('x-envoy-overloaded', 'true');
    response.setHeader('retry-after', '1');
  }
  if (failure.code === 'ERR_MESH_METHOD') response.setHeader('allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  if (mustEnd(request, failure)) response.shouldKeepAlive = false;
  response.end(body);
  dropBody(request);
}

/** Node drops what nobody has read; where somebody has read a part, the rest would hold up the connection. */
function dropBody(request: IncomingMessage): void {
  request.resume();
}

/** What somebody else has decided that the caller gets: as they said it, with a length that is true. */
function answerInTheirWords(
  request: IncomingMessage,
  response: ServerResponse,
  failure: MeshError,
  { body, headers, status }: FailureAnswer,
): void {
  response.statusCode = status;
  for (const [name, value] of headers) response.appendHeader(name, value);
  const bodiless = status === 204 || status === 304;
  if (!bodiless) response.setHeader('content-length', body.length);
  if (body.length > 0 && !response.hasHeader('content-type')) response.setHeader('content-type', 'text/plain');
  if (mustEnd(request, failure)) response.shouldKeepAlive = false;
  response.end(bodiless ? undefined : body);
  dropBody(request);
}

/** After broken framing, or with a large body on its way, the connection cannot be used again. */
function mustEnd(request: IncomingMessage, failure: MeshError): boolean {
  if (failure.flag === 'DPE') return true;
  if (request.headers['transfer-encoding'] !== undefined) return true;
  const length = request.headers['content-length'];
  return length !== undefined && Number(length) > maxDroppedBody;
}
