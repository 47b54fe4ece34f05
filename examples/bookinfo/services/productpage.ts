// productpage: Express. The only service that callers without a certificate may reach.

import { adminServer } from '@inmesh/admin';
import { inmesh } from '@inmesh/express';
import express, { type Request } from 'express';
import { createMesh } from 'inmesh';
import { tell } from '../demo/messages.ts';
import { report } from '../demo/report.ts';
import type { DetailsAnswer } from './details.ts';
import { hop } from './hop.ts';
import { type PageModel, type Part, renderPage } from './page.ts';
import type { ReviewsAnswer } from './reviews.ts';

const mesh = createMesh();
const app = express();
app.disable('x-powered-by');

app.use(inmesh(mesh));

app.get('/', (_request, response) => response.redirect('/productpage'));
app.get('/favicon.ico', (_request, response) => response.status(204).end());

app.get('/productpage', async (request, response) => {
  const user = userOf(request);
  const headers: Record<string, string> = user === undefined ? {} : { 'end-user': user };
  const [details, reviews] = await Promise.all([
    ask<DetailsAnswer>('http://details:9080/details/0', headers),
    ask<ReviewsAnswer>('http://reviews:9080/reviews/0', headers),
  ]);
  const page: PageModel = { user, hop: hop(mesh, request.mesh), details, reviews };
  response.set('cache-control', 'no-store');
  if (request.accepts(['html', 'json']) === 'json') response.json(page);
  else response.send(renderPage(page));
});

app.post('/login', express.urlencoded({ extended: false, limit: '1kb' }), (request, response) => {
  const body = request.body as { user?: unknown } | undefined;
  const user = typeof body?.user === 'string' && /^[\w-]{1,32}$/.test(body.user) ? body.user : 'jason';
  response.cookie('user', user, { httpOnly: true, sameSite: 'lax' }).redirect(303, '/productpage');
});
app.post('/logout', (_request, response) => response.clearCookie('user').redirect(303, '/productpage'));

/** One call through the mesh. A part that fails is missing on the page; it does not take the page down. */
async function ask<T>(url: string, headers: Record<string, string>): Promise<Part<T>> {
  const started = performance.now();
  try {
    const reply = await mesh.fetch(url, { headers });
    if (reply.ok) return { ok: true, value: (await reply.json()) as T, ms: performance.now() - started };
    await reply.body?.cancel();
    return { ok: false, reason: `${reply.status} ${reply.headers.get('x-inmesh-error') ?? reply.statusText}` };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Header `end-user`, or the cookie of the sign-in button. A demo: there is no password. */
function userOf(request: Request): string | undefined {
  return request.get('end-user') ?? /(?:^|;\s*)user=([\w-]+)/.exec(request.get('cookie') ?? '')?.[1];
}

const server = await mesh.listen(app, { host: '127.0.0.1', port: Number(process.env['PORT'] ?? 0) });

// Health, metrics, configuration and a page for people, for this machine alone.
const admin = await adminServer(mesh, { port: 0 });
tell({ kind: 'admin', url: `${admin.url}/` });

report(mesh, server);
