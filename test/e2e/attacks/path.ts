import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import { inmesh } from '../../../packages/express/src/index.ts';
import type { Mesh } from '../../../src/index.ts';
import { rawExchange } from '../../support/inbound.ts';
import { shopMesh } from '../../support/shop-mesh.ts';
import { fieldsScript } from './host.ts';
import type { Layer, Outcome } from './layers.ts';

const majors = [express, createRequire(import.meta.url)('express-4') as typeof express];

/** One request to an application in each major of Express; the worst of the answers. */
function inExpress(path: string, build: (app: Express, mesh: Mesh, ran: () => void) => void) {
  return async (): Promise<Outcome> => {
    const mesh = await shopMesh();
    const statuses: (number | undefined)[] = [];
    let handlers = 0;
    for (const make of majors) {
      const app = make();
      build(app, mesh, () => handlers++);
      app.use(((_error, _request, response, _next) => void response.status(403).end()) as express.ErrorRequestHandler);
      const server = createServer(app).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const [answer] = await rawExchange(port, `GET ${path} HTTP/1.1\r\nHost: web\r\n\r\n`);
      statuses.push(answer?.status);
      server.closeAllConnections();
      server.close();
    }
    await mesh.close();
    const status = statuses.find((each) => each !== 403) ?? 403;
    return handlers > 0 && status === 403 ? { problem: 'the handler has run' } : { status };
  };
}

/** Paths: DENY of `/admin` and what is below it is in force where a case runs alone. */
export const pathLayer: Layer = {
  name: 'path',
  scripts: { 'PATH-102': fieldsScript([':authority', 'web'], [':path', '/public'], [':path', '/admin']) },
  alone: {
    'PATH-065': inExpress('/admin/x', (app, mesh, ran) => {
      app.use(inmesh(mesh) as express.RequestHandler);
      app.use('/admin', (_request, response) => {
        ran();
        response.end();
      });
    }),
    'PATH-066': inExpress('/ADMIN/', (app, mesh, ran) => {
      app.use('/admin', inmesh(mesh) as express.RequestHandler);
      app.get('/admin', (_request, response) => {
        ran();
        response.end();
      });
    }),
    // Documented: what the application makes of a request that was let in is not judged again.
    'PATH-067': inExpress('/public', (app, mesh) => {
      app.use(inmesh(mesh) as express.RequestHandler);
      app.use((request, _response, next) => {
        request.url = '/admin';
        next();
      });
      app.get('/admin', (request, response) => {
        const known = request.originalUrl === '/public';
        response.status(known ? 200 : 500).end();
      });
    }),
  },
};

/** Paths where policies are told to read them as Istio does. */
export const literalPathLayer: Layer = { name: 'path-literal', mesh: () => ({ policyPaths: 'literal' }) };
