import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { posix } from 'node:path';
import express from 'express';
import Fastify, { type FastifyRequest, type FastifyServerOptions } from 'fastify';
import { type Context, Hono, type Next } from 'hono';
import { areaOf, areas } from './areas.ts';

/** A router of a framework, asked without a socket which of its handlers a target reaches. */
export interface RouterUnderTest {
  readonly name: string;
  /** Bits of `areas`: what the handlers that run for this target are there for. */
  reach(url: string): number;
  close(): Promise<void>;
}

type ExpressRequest = Pick<express.Request, 'url' | 'originalUrl' | 'params' | 'path'>;
type ExpressHandle = (request: ExpressRequest, response: unknown, next: () => void) => void;

interface ExpressOptions {
  readonly caseSensitive: boolean;
  readonly strict: boolean;
}

/** The part of Express's interface that both majors have, with their own syntax of paths. */
interface AnyExpress {
  (): AnyExpressApp;
  Router(options: ExpressOptions): Pick<AnyExpressApp, 'get' | 'use'>;
}

interface AnyExpressApp {
  (request: unknown, response: unknown, next: () => void): void;
  disable(setting: string): void;
  set(setting: string, value: boolean): void;
  get(path: string | RegExp, handle: ExpressHandle): void;
  use(path: string, handle: unknown): void;
}

const express4 = createRequire(import.meta.url)('express-4') as AnyExpress;
const express5 = express as unknown as AnyExpress;

/**
 * Every handler lets the next one run, too, so that one request tells of all that it could reach:
 * plain routes, mounts, parameters, optional segments, regular expressions, routers within routers.
 */
function expressRouter(name: string, make: AnyExpress, old: boolean, options: ExpressOptions): RouterUnderTest {
  const app = make();
  app.disable('x-powered-by');
  app.set('case sensitive routing', options.caseSensitive);
  app.set('strict routing', options.strict);
  let asked = '';
  let reached = 0;
  const handle =
    (areaOfRequest: (request: ExpressRequest) => number): ExpressHandle =>
    (request, _response, next) => {
      if (request.originalUrl !== asked) throw new Error(`${name}: ${request.originalUrl} was shown for ${asked}`);
      reached |= areaOfRequest(request);
      next();
    };
  const at = (area: number): ExpressHandle => handle(() => area);
  const rest = old ? '*' : '*rest';
  app.get('/admin', at(areas.admin));
  app.get(`/admin/${rest}`, at(areas.belowAdmin));
  app.get('/admin/:id', at(areas.belowAdmin));
  app.get('/public', at(areas.public));
  app.get(`/public/${rest}`, at(areas.belowPublic));
  app.get(old ? '/admin/:id?' : '/admin{/:id}', at(areas.atAdmin));
  app.get(/^\/admin(?:\/.*)?$/, at(areas.atAdmin));
  app.use('/admin', at(areas.atAdmin));
  app.get(
    '/:name',
    handle(({ params }) => areaOf(`/${params['name']}`)),
  );
  app.get(
    '/:tenant/admin',
    handle(({ params }) => areaOf(`/${params['tenant']}/admin`)),
  );
  app.get(
    '/:a/:b',
    handle(({ params }) => areaOf(`/${params['a']}/${params['b']}`)),
  );
  const nested = make.Router(options);
  nested.get('/admin', at(areas.adminOfPublic));
  app.use('/public', nested);
  const inner = make.Router(options);
  const outer = make.Router(options);
  inner.get('/', at(areas.admin));
  inner.get('/:id', at(areas.belowAdmin));
  outer.use('/admin', inner);
  app.use('/', outer);
  return {
    name,
    reach(url) {
      asked = url;
      reached = 0;
      app({ url, method: 'GET', headers: {} }, {}, () => {});
      return reached;
    },
    close: async () => {},
  };
}

/** Fastify runs one handler only: one application for each way to declare the routes. */
async function fastifyRouter(name: string, options: FastifyServerOptions): Promise<RouterUnderTest> {
  let asked = '';
  let reached = 0;
  const see = (request: FastifyRequest, area: number): void => {
    if (request.url !== asked) throw new Error(`${name}: ${request.url} was shown for ${asked}`);
    reached |= area;
  };
  const make = async (routes: Readonly<Record<string, (parameters: Readonly<Record<string, string>>) => number>>) => {
    const app = Fastify(options);
    for (const [path, areaOfRequest] of Object.entries(routes)) {
      app.get(path, (request, reply) => {
        reply.hijack();
        see(request, areaOfRequest(request.params as Record<string, string>));
      });
    }
    app.setNotFoundHandler((_request, reply) => void reply.hijack());
    await app.ready();
    return app;
  };
  const apps = await Promise.all([
    make({
      '/admin': () => areas.admin,
      '/admin/*': () => areas.belowAdmin,
      '/public': () => areas.public,
      '/public/*': () => areas.belowPublic,
      '/public/admin': () => areas.adminOfPublic,
      '/:tenant/admin': ({ tenant }) => areaOf(`/${tenant}/admin`),
    }),
    make({
      '/:name': (given) => areaOf(`/${given['name']}`),
      '/:a/:b': (given) => areaOf(`/${given['a']}/${given['b']}`),
      '/admin/:id?': () => areas.atAdmin,
      '/public/:id': () => areas.belowPublic,
    }),
    make({
      '/:name(^admin$)': () => areas.admin,
      '/:a/:b(^admin$)': ({ a }) => areaOf(`/${a}/admin`),
      '*': (given) => areaOf(normalized(given['*'] as string)),
    }),
  ]);
  const nothing = (): void => {};
  const response = {
    setHeader: nothing,
    on: nothing,
    once: nothing,
    end: nothing,
    writeHead: nothing,
    getHeader: nothing,
  };
  return {
    name,
    reach(url) {
      asked = url;
      reached = 0;
      for (const app of apps) {
        const request = { url, method: 'GET', headers: {}, rawHeaders: [], socket: {}, on: nothing };
        app.routing(request as unknown as IncomingMessage, response as unknown as ServerResponse);
      }
      return reached;
    },
    close: async () => void (await Promise.all(apps.map((app) => app.close()))),
  };
}

let lastUrl = '';
let lastRequest: Request | undefined;

/** The request that `@hono/node-server` makes of a target; one for all that are asked about it. */
function requestOf(url: string): Request | undefined {
  if (url !== lastUrl) {
    const whole = URL.parse(`http://host${url}`);
    lastRequest = whole === null ? undefined : new Request(whole);
    lastUrl = url;
  }
  return lastRequest;
}

const notFound = new Response(null, { status: 404 });

/** As `@hono/node-server` asks it, with a URL that is made of the target. Every handler lets the next one run. */
function honoRouter(name: string, strict: boolean): RouterUnderTest {
  const app = new Hono({ strict });
  let reached = 0;
  const handle =
    (areaOfRequest: (parameters: Readonly<Record<string, string>>) => number) =>
    (context: Context, next: Next): Promise<void> => {
      reached |= areaOfRequest(context.req.param());
      return next();
    };
  app.notFound(() => notFound);
  app.get(
    '/admin',
    handle(() => areas.admin),
  );
  app.get(
    '/admin/:id',
    handle(() => areas.belowAdmin),
  );
  app.get(
    '/admin/*',
    handle(() => areas.atAdmin),
  );
  app.get(
    '/public',
    handle(() => areas.public),
  );
  app.get(
    '/:name',
    handle((given) => areaOf(`/${given['name']}`)),
  );
  app.get(
    '/:a/:b',
    handle((given) => areaOf(`/${given['a']}/${given['b']}`)),
  );
  return {
    name,
    reach(url) {
      const request = requestOf(url);
      reached = 0;
      if (request !== undefined) void app.fetch(request);
      return reached;
    },
    close: async () => {},
  };
}

/** What applications do that take `request.url` apart by themselves. */
const byHand: readonly RouterUnderTest[] = [
  {
    name: 'new URL(request.url, base)',
    reach: (url) => areaOf(URL.parse(url, 'http://host')?.pathname ?? ''),
    close: async () => {},
  },
  {
    name: 'a file server',
    reach: (url) => areaOf(normalized(decoded(url.split('?', 1)[0] as string))),
    close: async () => {},
  },
  {
    name: 'path parameters cut off',
    reach: (url) => {
      const path = url.split('?', 1)[0] as string;
      return areaOf(normalized(path.replaceAll(/;[^/]*/g, '')));
    },
    close: async () => {},
  },
];

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return '';
  }
}

/** As file systems see it, Windows included. */
function normalized(path: string): string {
  return posix.normalize(`/${path.replaceAll('\\', '/')}`);
}

/** All of them, as they are and with every option turned round. */
export async function routersUnderTest(): Promise<readonly RouterUnderTest[]> {
  const loose = {
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    caseSensitive: false,
    useSemicolonDelimiter: true,
  };
  const asIs = { caseSensitive: false, strict: false };
  const strict = { caseSensitive: true, strict: true };
  return [
    expressRouter('Express 4', express4, true, asIs),
    expressRouter('Express 4, case sensitive and strict', express4, true, strict),
    expressRouter('Express 5', express5, false, asIs),
    expressRouter('Express 5, case sensitive and strict', express5, false, strict),
    await fastifyRouter('Fastify 5', {}),
    await fastifyRouter('Fastify 5, all options loose', { routerOptions: loose } as FastifyServerOptions),
    honoRouter('Hono', true),
    honoRouter('Hono, not strict', false),
    ...byHand,
  ];
}
