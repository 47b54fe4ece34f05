import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import type { HeaderList } from '../lib/header-list.ts';
import type { ClientCall, ClientRequest, Reply } from '../pipeline/client-call.ts';
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
    dispatcher = endpoint.dispatcher(request.own && call.host === '' ? originHost(call.origin) : call.host);
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
    attempt.start(dispatcher, new TryOptions(call, endpoint.host === '' ? undefined : endpoint.host) as never);
  });
}

function originHost(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2);
}

/** All that undici reads of a request; always every key, since one shape keeps its code fast. */
class TryOptions {
  readonly origin: string;
  readonly path: string;
  readonly method: string;
  readonly headers: HeaderList;
  readonly body: ClientRequest['body'];
  readonly query: undefined;
  readonly upgrade: ClientRequest['upgrade'];
  readonly headersTimeout: ClientRequest['headersTimeoutMs'];
  readonly bodyTimeout: ClientRequest['bodyTimeoutMs'];
  readonly reset: ClientRequest['reset'];
  readonly expectContinue: ClientRequest['expectContinue'];
  readonly idempotent: ClientRequest['idempotent'];
  readonly blocking: ClientRequest['blocking'];
  /**
   * Our connections know whom they lead to; without a name here undici would examine the Host
   * header each time. Outside of the mesh that is just what it shall do.
   */
  readonly servername: string | undefined;
  readonly dispatcher: undefined;
  readonly throwOnError: undefined;
  readonly maxRedirections: undefined;
  readonly typeOfService: undefined;

  constructor({ origin, path, request }: ClientCall, servername: string | undefined) {
    this.origin = origin;
    this.path = path;
    this.method = request.method;
    this.headers = request.headers;
    this.body = request.body;
    this.query = undefined;
    this.upgrade = request.upgrade;
    this.headersTimeout = request.headersTimeoutMs;
    this.bodyTimeout = request.bodyTimeoutMs;
    this.reset = request.reset;
    this.expectContinue = request.expectContinue;
    this.idempotent = request.idempotent;
    this.blocking = request.blocking;
    this.servername = servername;
    this.dispatcher = undefined;
    this.throwOnError = undefined;
    this.maxRedirections = undefined;
    this.typeOfService = undefined;
  }
}
