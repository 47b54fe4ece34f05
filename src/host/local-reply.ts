import { STATUS_CODES } from 'node:http';
import type { MeshError } from '../errors.ts';
import { discardBody } from '../lib/discard-body.ts';
import type { ClientCall } from '../pipeline/client-call.ts';

/** Tells an answer that the mesh made from one that the service gave: the code of the error. */
export const errorHeader = 'x-inmesh-error';

/**
 * Answers a call that the mesh itself failed, as a sidecar would: with a status and a short text.
 * Only the status, the code and one line leave the mesh; the details are on the error.
 */
export function localReply(call: ClientCall, error: MeshError): void {
  const body = Buffer.from(`${error.message}\n`);
  const headers: Record<string, string> = {
    'content-type': 'text/plain',
    'content-length': String(body.byteLength),
    [errorHeader]: error.code,
  };
  // Envoy's mark for an answer given because of a limit: callers must not retry it blindly.
  const shed = error.code === 'ERR_MESH_OVERFLOW' || error.code === 'ERR_MESH_CIRCUIT_OPEN';
  if (shed) headers['x-envoy-overloaded'] = 'true';
  // Whatever the application still asks of the call is not the business of the try that failed.
  call.running = undefined;
  call.rawHeaders = Object.entries(headers).flatMap(([name, value]) => [Buffer.from(name), Buffer.from(value)]);
  const { handler } = call;
  discardBody(call.request.body);
  try {
    handler.onResponseStart?.(call, error.status, headers, STATUS_CODES[error.status] ?? '');
    if (call.request.method !== 'HEAD' && !call.cancelled) handler.onResponseData?.(call, body);
    call.rawTrailers = [];
    if (!call.cancelled) handler.onResponseEnd?.(call, {});
  } catch (thrown) {
    call.abort(thrown as Error);
  }
  if (call.cancelled) call.tellError(call.reason as Error);
}
