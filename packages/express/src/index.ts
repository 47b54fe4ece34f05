import type { IncomingMessage, ServerResponse } from 'node:http';
import { dropRemovedQuery, type Mesh, MeshError, type RequestContext, requestContext } from 'inmesh';

declare global {
  namespace Express {
    interface Request {
      /** What the mesh knows about this request: peer identity, request id, deadline. */
      mesh: RequestContext;
    }
  }
}

/** Express's request, as far as the middleware needs it: the same in Express 4 and 5. */
export interface MeshedRequest extends IncomingMessage {
  /** Path under which the middleware is mounted; '' at the top. */
  readonly baseUrl?: string;
  originalUrl?: string;
  /** Express 4 has parsed it before any middleware runs. */
  readonly query?: unknown;
  mesh?: RequestContext;
}

/** Middleware that Express 4 and 5 accept. */
export type MeshMiddleware = (
  request: MeshedRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Middleware that puts the mesh in front of everything after it: mTLS mode, authorization, deadline,
 * metrics, and `req.mesh`. Use it first, and without a path: a mesh that guards one path only is
 * passed by asking for another.
 *
 * A request that came in through `mesh.listen(app)` has been decided there, and only gets `req.mesh`.
 *
 * @example
 * const app = express();
 * app.use(inmesh(mesh));
 * app.get('/reviews/:id', async (req, res) => {
 *   const answer = await mesh.fetch('http://ratings:9080/ratings/1', { signal: req.mesh.signal });
 *   res.json({ calledBy: req.mesh.peer?.spiffeId, ratings: await answer.json() });
 * });
 * await mesh.listen(app, 9080);
 */
export function inmesh(mesh: Mesh): MeshMiddleware {
  if (typeof mesh?.handle !== 'function') {
    throw new MeshError('ERR_MESH_OPTION_INVALID', 'inmesh(mesh) needs the mesh that createMesh returned');
  }
  return (request, response, next) => {
    if ((request.baseUrl ?? '') !== '') {
      const where = JSON.stringify(request.baseUrl);
      next(
        new MeshError(
          'ERR_MESH_FORBIDDEN',
          `the mesh is mounted under ${where}: use app.use(inmesh(mesh)), first and without a path`,
        ),
      );
      return;
    }
    const before = request.url ?? '/';
    mesh.handle(request, response, () => {
      if (request.url !== before) dropRemovedQuery(before, request.url ?? '/', request.query);
      // One path for all: routers below go by `url`, logs and redirects by `originalUrl`.
      request.originalUrl = request.url ?? '/';
      request.mesh = requestContext(request);
      next();
    });
  };
}
