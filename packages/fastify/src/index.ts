import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyPluginCallback } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { dropRemovedQuery, type Mesh, MeshError, type RequestContext, requestContext } from 'inmesh';

export { type MeshHttpServer, meshServerFactory } from './server-factory.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the mesh knows about this request: peer identity, request id, deadline. */
    readonly mesh: RequestContext;
  }
}

/** Options of the plugin. */
export interface InmeshOptions {
  /** What `createMesh` returned. */
  readonly mesh: Mesh;
}

const plugin: FastifyPluginCallback<InmeshOptions> = (fastify, { mesh }, done) => {
  if (typeof mesh?.handle !== 'function') {
    done(new MeshError('ERR_MESH_OPTION_INVALID', 'the plugin needs { mesh }: what createMesh returned'));
    return;
  }
  fastify.decorateRequest('mesh', {
    getter(this: { readonly raw: IncomingMessage }): RequestContext {
      return requestContext(this.raw);
    },
  });
  fastify.addHook('onRequest', (request, reply, next) => {
    const { raw } = request;
    const routed = raw.url ?? '';
    mesh.handle(raw, reply.raw, () => {
      const url = raw.url ?? '';
      if (pathOf(url) !== pathOf(routed)) {
        refuse(reply.raw);
        return;
      }
      // The query was parsed already; a token in it is not for the application.
      dropRemovedQuery(routed, url, request.query);
      next();
    });
  });
  done();
};

function pathOf(url: string): string {
  const mark = url.indexOf('?');
  return mark === -1 ? url : url.slice(0, mark);
}

/**
 * On a server of Fastify's own the route was chosen before any hook runs. If the mesh reads the
 * target differently, policy would have judged another path than the one that is served.
 */
function refuse(response: ServerResponse): void {
  const body = 'bad request';
  response.writeHead(400, {
    'content-type': 'text/plain',
    'content-length': body.length,
    'x-inmesh-error': 'ERR_MESH_BAD_REQUEST',
  });
  response.end(body);
}

/**
 * Plugin that puts the mesh in front of the routes of the instance it is registered on and of all
 * nested ones: mTLS mode, authorization, deadline, metrics, and `request.mesh`. Register it first,
 * on the outermost instance: a sibling of the instance that has it is not guarded by it.
 *
 * A request that came in through `mesh.listen(fastify)` or {@link meshServerFactory} has been
 * decided there, and only gets `request.mesh`. Prefer these two: on a server of Fastify's own the
 * route is chosen before the mesh sees the request, so that targets which are not in canonical
 * form are refused with 400.
 *
 * @example
 * const app = Fastify({ serverFactory: meshServerFactory(mesh) });
 * await app.register(inmesh, { mesh });
 * app.get('/details/:id', async (request) => ({ calledBy: request.mesh.peer?.spiffeId }));
 * await app.listen({ port: 9080 });
 */
export const inmesh: FastifyPluginCallback<InmeshOptions> = fastifyPlugin(plugin, {
  name: '@inmesh/fastify',
  fastify: '5.x',
});
