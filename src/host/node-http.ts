import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { MeshError } from '../errors.ts';

/** A handler of requests: a function, an Express app (which is one), or a Fastify instance. */
export type NodeApplication =
  | RequestListener
  | {
      ready(): PromiseLike<unknown>;
      routing(request: IncomingMessage, response: ServerResponse): void;
    };

/**
 * The request listener of an application. A Fastify instance is made ready first, so that its
 * plugins are loaded before the first request.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when it is neither
 */
export async function requestListenerOf(application: NodeApplication): Promise<RequestListener> {
  if (typeof application === 'function') return application;
  if (typeof application?.ready === 'function' && typeof application.routing === 'function') {
    await application.ready();
    return (request, response) => application.routing(request, response);
  }
  const what = 'a function (request, response), an Express app or a Fastify instance';
  throw new MeshError('ERR_MESH_OPTION_INVALID', `the application must be ${what}, not ${describe(application)}`);
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value;
}
