import type { IncomingMessage, ServerResponse } from 'node:http';
import express from 'express';
import Fastify, { type FastifyServerOptions } from 'fastify';
import t from 'tap';
import { compilePaths } from '../../src/authz/path-match.ts';
import { pathViews } from '../../src/authz/path-views.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import { hasBrokenEscape, normalizePath } from '../../src/sanitize/normalize-path.ts';
import { parseTarget } from '../../src/sanitize/target.ts';

/**
 * Every target of up to three tokens against the routers themselves: whatever policy lets through
 * must not arrive at the handler that it protects.
 */
const tokens = [
  '/',
  '\\',
  '.',
  '..',
  '%2e',
  '%2f',
  '%5c',
  ';',
  '#',
  '?',
  'admin',
  'ADMIN',
  '%61dmin',
  'public',
  '%00',
  'é',
];
const targets = new Set<string>();
for (const a of ['', ...tokens]) for (const b of ['', ...tokens]) for (const c of tokens) targets.add(`/${a}${b}${c}`);
for (const b of tokens) for (const c of tokens) targets.add(`/public${b}${c}admin`);

const below = (path: string): readonly StringMatch[] => [
  { kind: 'exact', value: path },
  { kind: 'prefix', value: `${path}/` },
];
const denyAdmin = compilePaths(below('/admin'), false);
const allowPublic = compilePaths(below('/public'), false);

/** The path as the mesh hands it on, for each target that one of the policies lets through. */
const passing = new Set<string>();
for (const target of targets) {
  const parts = parseTarget(target, 'GET');
  if (typeof parts === 'string' || hasBrokenEscape(parts.path)) continue;
  const path = normalizePath(parts.path);
  if (path === undefined) continue;
  const views = pathViews(path, parts.path);
  if (!denyAdmin.possibly(path, views) || allowPublic.surely(path, views)) passing.add(path + parts.query);
}

t.test('there is something to try, and policy stops something', async (t) => {
  t.ok(passing.size > 500, `${passing.size} of ${targets.size} pass`);
  for (const path of ['/admin', '/ADMIN', '/admin/', '/admin%2f', '//admin']) t.notOk(passing.has(path), path);
  for (const path of ['/public', '/public/']) t.ok(passing.has(path), path);
});

t.test('no target gets past policy to the handler in Express', async (t) => {
  for (const options of [{}, { caseSensitive: true, strict: true }]) {
    let reached = '';
    const hit = (request: { readonly originalUrl: string }): void => {
      reached = request.originalUrl;
    };
    const router = express.Router(options);
    let served = 0;
    router.get('/public', () => {
      served++;
    });
    router.get('/admin', hit);
    router.get('/admin/*rest', hit);
    router.use('/admin', hit);
    for (const url of passing) {
      const request = { url, originalUrl: url, method: 'GET' } as unknown as express.Request;
      router(request, {} as express.Response, () => {});
      if (reached !== '') break;
    }
    t.equal(reached, '', JSON.stringify(options));
    t.ok(served > 0, 'the router does route');
  }
});

t.test('no target gets past policy to the handler in Fastify', async (t) => {
  const loose = {
    routerOptions: {
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      caseSensitive: false,
      useSemicolonDelimiter: true,
    },
  } as FastifyServerOptions;
  for (const options of [{}, loose]) {
    const reached: string[] = [];
    const app = Fastify(options);
    let served = 0;
    app.get('/public', async () => {
      served++;
      return '';
    });
    app.get('/admin', async (request) => reached.push(request.url));
    app.get('/admin/*', async (request) => reached.push(request.url));
    app.setNotFoundHandler(async () => '');
    await app.ready();
    const response = { setHeader: () => {}, on: () => {}, once: () => {}, end: () => {}, writeHead: () => {} };
    const headers = {};
    for (const url of passing) {
      const request = { url, method: 'GET', headers, rawHeaders: [], socket: {}, on: () => {} };
      app.routing(request as unknown as IncomingMessage, response as unknown as ServerResponse);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
    t.same(reached, [], JSON.stringify(options));
    t.ok(served > 0, 'the router does route');
    await app.close();
  }
});
