import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';
import { translateError } from './translate.ts';
import { Try } from './try.ts';

/** The end of the client pipeline: sends one try to the endpoint that was chosen. */
export const sendTry: Service<ClientCall, Reply> = (call) => send(call, translateError);

/** The same for a host outside of the mesh: what undici reports is what the application gets. */
export const sendDirect: Service<ClientCall, Reply> = (call) => send(call, asItIs);

const asItIs = (error: Error): Error => error;

function send(call: ClientCall, translate: (error: Error, call: ClientCall) => Error): Promise<Reply> {
  const { endpoint, request } = call;
  if (endpoint === undefined) {
    return call.failTry(new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', 'no endpoint chosen'));
  }
  if (call.reason !== null) return call.failTry(call.reason);
  let dispatcher: Dispatcher;
  try {
    dispatcher = endpoint.dispatcher(call.host);
  } catch (error) {
    return call.failTry(error as Error);
  }
  return new Promise<Reply>((resolve, reject) => {
    if (call.host !== endpoint.host && call.host !== '') {
      // undici has the endpoint's usual Host header ready; any other is a header to be written.
      request.headers.push('host', call.host);
      call.host = '';
    }
    const attempt = new Try(call, translate, resolve, reject);
    call.running = attempt;
    // One literal with every key: undici reads them all, and one shape keeps its code fast.
    attempt.start(dispatcher, {
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
      // Our connections know whom they lead to; without a name here undici would examine the Host
      // header each time. Outside of the mesh that is just what it shall do.
      servername: endpoint.host === '' ? undefined : endpoint.host,
    } as never);
  });
}
