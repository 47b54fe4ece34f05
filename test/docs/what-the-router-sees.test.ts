import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import express from 'express';
import Fastify, { type FastifyServerOptions } from 'fastify';
import t, { type Test } from 'tap';
import { normalizePath } from '../../src/sanitize/normalize-path.ts';
import { modes, sanitized } from '../support/paths/bypasses.ts';
import { type Guard, guard } from '../support/paths/guards.ts';
import { root } from '../support/source-files.ts';

/** The tables of the page are made by asking the routers and the policies themselves. */
const page = `${root}docs/what-the-router-sees.md`;

function checkTable(t: Test, name: string, rows: readonly (readonly string[])[]): void {
  const text = readFileSync(page, 'utf8');
  const begin = `<!-- ${name}: written by UPDATE_DOCS=1 npx tap test/docs/what-the-router-sees.test.ts --disable-coverage -->\n`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(`<!-- end of ${name} -->`);
  t.ok(from > begin.length && to >= from, 'the page has its marks');
  const [head = [], ...body] = rows.map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const lines = [head, head.map(() => '---'), ...body].map((row) =>
    `| ${row.join(' | ')} |`.replaceAll(' --- ', '---'),
  );
  const table = `\n${lines.join('\n')}\n\n`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, text.slice(0, from) + table + text.slice(to));
  else t.equal(text.slice(from, to), table, 'or run the command that is in the page');
}

const code = (text: string): string => `\`${text}\``;

t.test('the four modes of pathNormalization', async (t) => {
  const targets = ['/a/../b', '/%61', '/a\\b', '//a', '/a%2Fb', '/a%5C..%5Cb', '/%2561', '/%c3%a9', '/A;b=c/'];
  const rows = targets.map((target) =>
    [target, ...modes.map((mode) => normalizePath(target, mode) ?? '400')].map(code),
  );
  checkTable(t, 'modes', [['as it arrives', ...modes.map(code)], ...rows]);
});

type Reaches = (target: string) => boolean;

function inExpress(make: typeof express): Reaches {
  const app = make();
  let ran = false;
  app.get('/admin', () => {
    ran = true;
  });
  const handle = app as unknown as (request: IncomingMessage, response: ServerResponse, next: () => void) => void;
  return (url) => {
    ran = false;
    handle(
      { url, method: 'GET', headers: {} } as IncomingMessage,
      { setHeader() {} } as unknown as ServerResponse,
      () => {},
    );
    return ran;
  };
}

async function inFastify(t: Test, options: FastifyServerOptions): Promise<Reaches> {
  const app = Fastify(options);
  t.teardown(() => app.close());
  let ran = false;
  app.get('/admin', (_request, reply) => {
    ran = true;
    reply.hijack();
  });
  app.setNotFoundHandler((_request, reply) => void reply.hijack());
  await app.ready();
  const nothing = (): void => {};
  const response = {
    setHeader: nothing,
    on: nothing,
    once: nothing,
    end: nothing,
    writeHead: nothing,
    getHeader: nothing,
  };
  return (url) => {
    ran = false;
    const request = { url, method: 'GET', headers: {}, rawHeaders: [], socket: {}, on: nothing };
    app.routing(request as unknown as IncomingMessage, response as unknown as ServerResponse);
    return ran;
  };
}

/** Status of a target, as it arrives, under a policy in mode BASE. */
function statusOf(target: string, { authorize }: Guard): number {
  const call = sanitized(target, 'BASE');
  if (call === undefined) return 400;
  return authorize(call) === undefined ? 200 : 403;
}

t.test('which targets reach a handler of /admin', async (t) => {
  const express4 = createRequire(import.meta.url)('express-4') as typeof express;
  const loose = {
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    caseSensitive: false,
    useSemicolonDelimiter: true,
  };
  const routers: Readonly<Record<string, Reaches>> = {
    'Express 4': inExpress(express4),
    'Express 5': inExpress(express),
    'Fastify 5': await inFastify(t, {}),
    'Fastify 5, loose': await inFastify(t, { routerOptions: loose } as FastifyServerOptions),
  };
  const policy = ['DENY', 'paths: ["/admin", "/admin/*"]'] as const;
  const [literal, views] = [guard(...policy, 'literal'), guard(...policy)];
  const targets = [
    '/admin',
    '/ADMIN',
    '/admin/',
    '/admin?x',
    '/admin#x',
    'http://other/admin',
    '/%61dmin',
    '/%41dmin',
    '/./admin',
    '/x/../admin',
    '/x\\..\\admin',
    '//admin',
    '//other/admin',
    '/admin;x=1',
    '/admin%2F',
    '/x%2f..%2fadmin',
    '/%2561dmin',
    '/administrator',
  ];
  const rows = targets.map((target) => [
    code(target),
    ...Object.values(routers).map((reaches) => (reaches(target) ? 'yes' : '')),
    ...[literal, views].map((each) => String(statusOf(target, each))),
  ]);
  for (const [index, name] of Object.keys(routers).entries()) {
    t.ok(rows.some((row) => row[index + 1] === 'yes') && rows.some((row) => row[index + 1] === ''), name);
  }
  for (const row of rows) if (row.slice(1, 5).includes('yes')) t.equal(row.at(-1), '403', String(row[0]));
  checkTable(t, 'routers', [['target', ...Object.keys(routers), 'Istio', 'inmesh'], ...rows]);
});

/** What well-meaning callers ask for. */
const usual: readonly string[] = [
  ...['/', '/healthz', '/healthz/', '/api/v1/users/42', '/api/v1/users/4F9A-BC', '/api/v1/Users/42/', '/users/abc123'],
  ...['/api/v1/users/a%2Fb', '/api/v1/users/J%C3%BCrgen', '/api/v1/users/me%40example.com', '/api/v1/users/7/profile'],
  ...[
    '/api/v1/users/7/profile/',
    '/api/v1/users/7;v=2/profile',
    '/api/v1/projects/group%2Fproject/issues',
    '/users/AbC123',
  ],
  ...[
    '/api/@scope%2fname',
    '/api/v1/items;jsessionid=A1',
    '/api//v1/items',
    '/api/v1/x:cancel',
    '/api/v1/files/100%25',
  ],
  ...['/api/v1/files/a%20b.txt', '/api/v1/redirect/https:%2F%2Fexample.com%2Fadmin', '/api/v1/admin', '/administrator'],
  ...['/admin-guide', '/Admin-Guide', '/wiki/Admin', '/wiki/C%2B%2B', '/docs/Edit', '/docs/edit', '/assets/Logo.svg'],
  ...[
    '/Index.html',
    '/.well-known/openid-configuration',
    '/api/v1/search/%E6%97%A5',
    '/Metrics',
    '/metrics/',
    '/debug;x',
  ],
  ...['/Internal/report', '/internal-report', '/Actuator/health', '/ADMIN/help', '/x/index.PHP', '/api/v1/%61bc'],
];

t.test('which usual requests are refused that Istio lets through', async (t) => {
  const policies = [
    ['ALLOW', 'paths: ["/api/*", "/healthz", "/"]'],
    ['ALLOW', 'paths: ["/api/v1/users/*"]'],
    ['ALLOW', 'paths: ["/api/v1/users/{*}", "/api/v1/users/{*}/profile"]'],
    ['ALLOW', 'paths: ["/api/{**}"]'],
    ['ALLOW', 'paths: ["*/profile"]'],
    ['ALLOW', 'notPaths: ["/admin", "/admin/*", "/internal/*"]'],
    ['DENY', 'notPaths: ["/api/*", "/healthz", "/"]'],
    ['DENY', 'paths: ["/admin", "/admin/*"]'],
    ['DENY', 'paths: ["/internal/*", "/metrics", "/debug/*"]'],
    ['DENY', 'paths: ["/actuator*", "*.php"]'],
    ['DENY', 'paths: ["/users/AbC123"]'],
    ['DENY', 'paths: ["*/edit"]'],
  ] as const;
  const rows = policies.map(([action, operation]) => {
    const [literal, views] = [guard(action, operation, 'literal'), guard(action, operation)];
    const passed = usual.filter((target) => statusOf(target, literal) === 200);
    const refused = passed.filter((target) => statusOf(target, views) !== 200);
    const more = usual.filter((target) => statusOf(target, literal) !== 200 && statusOf(target, views) === 200);
    t.same(more, [], `${action} ${operation} lets nothing through that Istio refuses`);
    return [
      code(`${action} ${operation}`),
      `${passed.length} of ${usual.length}`,
      refused.map(code).join(' ') || 'none',
    ];
  });
  checkTable(t, 'costs', [['policy', 'pass in Istio', 'of these refused'], ...rows]);
});
