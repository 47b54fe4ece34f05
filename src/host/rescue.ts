import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { causeOf, type FailureAnswer, MeshError, type MeshErrorCode } from '../errors.ts';
import { grpcMessage, grpcStatusOf, isGrpc } from '../lib/grpc-answer.ts';

/**
 * How refusals are written: `text` in Envoy's plain words, `problem` as problem details (RFC 9457). By
 * the server's choice alone: what a stranger says that it accepts decides nothing. gRPC calls get a
 * gRPC status in any case, as of an Envoy.
 */
export type ErrorFormat = 'text' | 'problem';

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

/** The same as problem details (RFC 9457): the type is `about:blank`, so the title is that of the status. */
export function problemDetails(failure: MeshError): string {
  const { code, status } = failure;
  const title = STATUS_CODES[status] ?? 'Error';
  return JSON.stringify({ type: 'about:blank', title, status, detail: failureBody(failure), code });
}

/** Statuses of gRPC that say more than the one that stands for the status of HTTP. */
const grpcStatuses: Partial<Record<MeshErrorCode, number>> = {
  ERR_MESH_DEADLINE_EXPIRED: 4,
  // UNAVAILABLE, which stands for 429, would ask clients to try again at once.
  ERR_MESH_RATE_LIMITED: 8,
};

/**
 * Answers a request with a failure: the status, the code in `x-inmesh-error`, and a body without
 * internals. The only place where an error of the server side becomes a response.
 */
export function answerFailure(
  request: IncomingMessage,
  response: ServerResponse,
  failure: MeshError,
  format: ErrorFormat = 'text',
): void {
  if (response.headersSent) {
    // Too late for a status; a cut connection at least cannot be taken for a whole response.
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  if (failure.answer !== undefined && !isGrpc(request.headers['content-type'])) {
    answerInTheirWords(request, response, failure, failure.answer);
    return;
  }
  const body = setBody(request, response, failure, format);
  response.setHeader('x-inmesh-error', failure.code);
  for (const [name, value] of failure.answerHeaders ?? []) response.setHeader(name, value);
  if (failure.code === 'ERR_MESH_CONCURRENCY_LIMIT' || failure.code === 'ERR_MESH_OVERLOADED') {
    // Envoy's mark for an answer given because of a limit: callers must not retry it blindly.
    response.setHeader('x-envoy-overloaded', 'true');
    response.setHeader('retry-after', '1');
  }
  if (failure.code === 'ERR_MESH_METHOD') response.setHeader('allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  if (mustEnd(request, failure)) endConnection(request, response);
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
  if (mustEnd(request, failure)) endConnection(request, response);
  response.end(bodiless ? undefined : body);
  dropBody(request);
}

/** Sets the status and the headers that go with a body, and returns that body. */
function setBody(
  { headers }: IncomingMessage,
  response: ServerResponse,
  failure: MeshError,
  format: ErrorFormat,
): string {
  if (isGrpc(headers['content-type'])) {
    // A response of headers only; clients look for nothing else.
    response.statusCode = 200;
    response.setHeader('content-type', 'application/grpc');
    response.setHeader('grpc-status', String(grpcStatuses[failure.code] ?? grpcStatusOf(failure.status)));
    response.setHeader('grpc-message', grpcMessage(failureBody(failure)));
    response.setHeader('content-length', 0);
    return '';
  }
  const body = format === 'problem' ? problemDetails(failure) : failureBody(failure);
  response.statusCode = failure.status;
  response.setHeader('content-type', format === 'problem' ? 'application/problem+json' : 'text/plain');
  response.setHeader('content-length', Buffer.byteLength(body));
  return body;
}

const over = Symbol('inmesh.connection-over');
interface Marked {
  [over]?: true;
}

function endConnection({ httpVersionMajor, socket }: IncomingMessage, response: ServerResponse): void {
  response.shouldKeepAlive = false;
  // Streams of HTTP/2 have nothing behind them.
  if (httpVersionMajor < 2 && socket) (socket as Marked)[over] = true;
}

/**
 * Whether a request was refused before this one so that nothing more on its connection counts (RFC 9112 section 9.6):
 * who says where the one ends, and the other begins, is what smuggling is about. Node goes on to read.
 */
export function isBehindTheLast({ httpVersionMajor, socket }: IncomingMessage): boolean {
  return httpVersionMajor < 2 && (socket as Marked | null)?.[over] === true;
}

/** After broken framing, or with a large body on its way, the connection cannot be used again. */
function mustEnd(request: IncomingMessage, failure: MeshError): boolean {
  if (failure.flag === 'DPE') return true;
  if (request.headers['transfer-encoding'] !== undefined) return true;
  const length = request.headers['content-length'];
  return length !== undefined && Number(length) > maxDroppedBody;
}
