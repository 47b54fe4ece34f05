import 'reflect-metadata';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { All, Controller, type INestApplication, Module, Req, Res } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Hono } from 'hono';
import Koa from 'koa';
import { inmesh as expressMesh } from '../../../packages/express/src/index.ts';
import type { Mesh } from '../../../src/index.ts';
import { listening, over, ownServers, type Seen, type ServerKind, show, type Way } from './ways.ts';

const handlerOf = (path: string): Seen['handler'] => (path === '/admin' ? 'admin' : 'other');

/** Koa has no router: its middleware looks at the path itself. */
function koaApp(): RequestListener {
  const app = new Koa();
  app.silent = true;
  app.use((context) => {
    context.respond = false;
    context.status = 200;
    show(handlerOf(context.path), context.req, context.res);
  });
  return app.callback();
}

function honoApp(): RequestListener {
  const app = new Hono<{ Bindings: HttpBindings }>();
  const route = (handler: Seen['handler']) => (context: { readonly env: HttpBindings }) => {
    show(handler, context.env.incoming as IncomingMessage, context.env.outgoing as ServerResponse);
    return RESPONSE_ALREADY_SENT;
  };
  app.all('/admin', route('admin'));
  app.all('*', route('other'));
  return getRequestListener(app.fetch);
}

class ShopController {
  admin(request: IncomingMessage, response: ServerResponse): void {
    show('admin', request, response);
  }
  other(request: IncomingMessage, response: ServerResponse): void {
    show('other', request, response);
  }
}
class ShopModule {}

// Decorators are functions; without a compiler for their syntax they are called.
for (const [path, name] of [
  ['admin', 'admin'],
  ['{*rest}', 'other'],
] as const) {
  const descriptor = Object.getOwnPropertyDescriptor(ShopController.prototype, name) as PropertyDescriptor;
  All(path)(ShopController.prototype, name, descriptor);
  Req()(ShopController.prototype, name, 0);
  Res()(ShopController.prototype, name, 1);
}
Controller()(ShopController);
Module({ controllers: [ShopController] })(ShopModule);

async function nestApp(mesh: Mesh): Promise<{ readonly app: INestApplication; readonly listener: RequestListener }> {
  const app = await NestFactory.create(ShopModule, { logger: false, bodyParser: false });
  app.use(expressMesh(mesh));
  await app.init();
  return { app, listener: app.getHttpAdapter().getInstance() as RequestListener };
}

const koa: ServerKind = { name: 'Koa', listens: true, serve: (mesh) => listening(mesh, koaApp()) };
const hono: ServerKind = { name: 'Hono', listens: true, serve: (mesh) => listening(mesh, honoApp()) };
const nest: ServerKind = {
  name: 'NestJS',
  listens: true,
  async serve(mesh) {
    const { app, listener } = await nestApp(mesh);
    const serving = await listening(mesh, listener);
    return {
      ...serving,
      close: async () => {
        await serving.close();
        await app.close();
      },
    };
  },
};

/** The same applications on servers of their own. */
const own = (name: string, make: () => RequestListener): ServerKind => ({
  name: `own ${name}`,
  listens: false,
  serve: (mesh, credentials, limits) => {
    const app = make();
    return ownServers(credentials, limits, (request, response) =>
      mesh.handle(request, response, () => app(request, response)),
    );
  },
});
const ownNest: ServerKind = {
  name: 'own NestJS',
  listens: false,
  async serve(mesh, credentials, limits) {
    const { app, listener } = await nestApp(mesh);
    const serving = await ownServers(credentials, limits, listener);
    return {
      ...serving,
      close: async () => {
        await serving.close();
        await app.close();
      },
    };
  },
};

/** Frameworks without a package of their own: through `mesh.listen`, and through `mesh.handle`. */
export const furtherWays: readonly Way[] = [
  over(koa, 'HTTP/1.1'),
  over(koa, 'h2'),
  over(hono, 'HTTP/1.1'),
  over(hono, 'h2'),
  over(nest, 'HTTP/1.1'),
  over(nest, 'h2'),
  over(own('Koa', koaApp), 'HTTP/1.1'),
  over(own('Hono', honoApp), 'HTTP/1.1'),
  over(ownNest, 'HTTP/1.1'),
];
