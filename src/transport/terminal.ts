import { MeshError } from '../errors.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';
import { Try } from './try.ts';

/** The end of the client pipeline: sends one try to the endpoint that was chosen. */
export const sendTry: Service<ClientCall, Reply> = (call) => send(call, wrap);

/** The same for a host outside of the mesh: what undici reports is what the application gets. */
export const sendDirect: Service<ClientCall, Reply> = (call) => send(call, (error) => error);

function send(call: ClientCall, translate: (error: Error, call: ClientCall) => Error): Promise<Reply> {
  const { endpoint, request } = call;
  if (endpoint === undefined) {
    return call.failTry(new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', 'no endpoint chosen'));
  }
  if (call.reason !== null) return call.failTry(call.reason);
  return new Promise<Reply>((resolve, reject) => {
    const attempt = new Try(call, resolve, (error) => reject(translate(error, call)));
    call.running = attempt;
    const dispatcher = endpoint.dispatcher(call.host);
    if (call.host !== endpoint.host && call.host !== '') {
      // undici has the endpoint's usual Host header ready; any other is a header to be written.
      request.headers.push('host', call.host);
      call.host = '';
    }
    // One literal with every key: undici reads them all, and one shape keeps its code fast.
    dispatcher.dispatch(
      {
        origin: call.origin,
        path: call.path,
        method: request.method as 'GET',
        headers: request.headers as string[],
        body: request.body,
        upgrade: request.upgrade,
        headersTimeout: request.headersTimeoutMs,
        bodyTimeout: request.bodyTimeoutMs,
        reset: request.reset,
        expectContinue: request.expectContinue,
        idempotent: request.idempotent,
        blocking: request.blocking,
        // Never used over our connections, but without it undici examines the Host header each time.
        servername: call.cluster,
      } as never,
      attempt,
    );
  });
}

/** Codes of connections that broke, from the system and from undici. */
const brokenCodes = new Set([
  'UND_ERR_SOCKET',
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
]);
const timeoutCodes = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

/**
 * Names what happened in the mesh's words. The application's own abort and its mistakes (a header
 * that is not valid, a body that fails) stay what they are: they say nothing about the endpoint.
 */
function wrap(error: Error, call: ClientCall): Error {
  if (error instanceof MeshError || error === call.reason) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const details = { cause: error, route: call.route, cluster: call.cluster, endpoint: call.endpoint?.name ?? '' };
  if (brokenCodes.has(code)) {
    return new MeshError(
      'ERR_MESH_UPSTREAM_RESET',
      `${details.endpoint} broke the connection: ${error.message}`,
      details,
    );
  }
  if (timeoutCodes.has(code)) {
    return new MeshError(
      'ERR_MESH_TRY_TIMEOUT',
      `${details.endpoint} did not answer in time: ${error.message}`,
      details,
    );
  }
  if (code === 'HPE_INVALID_CONSTANT' || code.startsWith('HPE_')) {
    return new MeshError(
      'ERR_MESH_UPSTREAM_RESET',
      `${details.endpoint} did not answer in HTTP: ${error.message}`,
      details,
    );
  }
  return error;
}
