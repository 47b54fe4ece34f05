// Servers that break the protocol: what a caller gets of it, and what is tried again, is what an Envoy makes of it.
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { errorTable, MeshError, type MeshErrorCode } from '../../../src/errors.ts';
import type { Mesh } from '../../../src/index.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from './binary.ts';
import { cluster, fixedSecrets, httpVersion, loopback, type Message, typed } from './bootstrap.ts';
import { type BrokenAnswer, http1Answers, http2Answers } from './broken-answers.ts';
import { type BrokenServer, brokenHttp1, brokenHttp2, brokenService } from './broken-servers.ts';
import { httpFilter } from './http.ts';
import { meshProcess } from './mesh-process.ts';
import { accessLogFile, type Envoy, startEnvoy } from './run.ts';

const identity = makeAuthority().issue('spiffe://cluster.local/ns/shop/sa/web');

/** The words of `retryOn`, by a name for the header that chooses them. */
const policies: Readonly<Record<string, string>> = {
  none: '',
  '5xx': '5xx',
  reset: 'reset',
  gateway: 'gateway-error',
  istio: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
  before: 'reset-before-request',
};

/** A call on a connection of its own: a kept one may be taken again before it is seen that the server has ended it. */
const once = { max_requests_per_connection: 1 };

interface Row extends BrokenAnswer {
  readonly version: 1 | 2;
  readonly server: BrokenServer;
}

t.test(
  ...withEnvoy('answers that break the protocol', async (t, program) => {
    const rows: Row[] = [];
    for (const each of http1Answers) rows.push({ ...each, version: 1, server: await brokenHttp1(t, each.answer) });
    for (const each of http2Answers) rows.push({ ...each, version: 2, server: await brokenHttp2(t, each.answer) });
    const envoy = await startEnvoy(t, program, (folder) => ({
      listeners: [{ name: 'all', address: loopback(0), filter_chains: [{ filters: [filter(rows, folder)] }] }],
      clusters: rows.map(({ server, version }, i) => cluster(`case-${i}`, [server.port], httpVersion(version, once))),
      secrets: fixedSecrets(identity),
    }));
    const mesh = await meshProcess(t, 'web', rows.map(yamlOf).join('---'), identity);
    for (const version of [1, 2]) {
      await t.test(`HTTP/${version}`, async (t) => {
        for (const [i, row] of rows.entries()) if (row.version === version) await compare(t, row, i, envoy, mesh);
      });
    }
  }),
);

/** The same call both ways, under each policy. */
async function compare(t: Test, row: Row, i: number, envoy: Envoy, mesh: Mesh): Promise<void> {
  const { name, server, wanted, ours = wanted, tries = 'sent', ourTries = tries } = row;
  for (const policy of Object.keys(policies)) {
    const path = `/${i}-/${policy}`;
    const said = await counted(server, () => viaEnvoy(envoy.port('all'), path, policy));
    const flag = said.what === 'nothing' ? '' : await flagOf(envoy, path);
    const expected = retried(tries, policy);
    t.same(
      { what: withFlag(said.what, flag), tries: said.tries },
      { what: wanted, tries: expected },
      `${name}, ${policy}: Envoy`,
    );
    const got = await counted(server, () => viaMesh(mesh, `http://case-${i}/`, policy));
    const own = typeof ourTries === 'number' ? ourTries * retried('unsent', policy) : retried(ourTries, policy);
    t.same(got, { what: ours, tries: own }, `${name}, ${policy}: inmesh`);
  }
}

/** Requests of one call with one retry: of a kind of failure, under a policy. */
function retried(tries: NonNullable<BrokenAnswer['tries']>, policy: string): number {
  const words: Readonly<Record<typeof tries, readonly string[]>> = {
    none: [],
    sent: ['5xx', 'reset', 'gateway'],
    unsent: ['5xx', 'reset', 'gateway', 'istio'],
    status: ['5xx', 'gateway'],
  };
  return words[tries].includes(policy) ? 2 : 1;
}

/** Without the flag that says that there were retries. */
function withFlag(what: string, flags: string): string {
  const flag = flags.split(',').filter((each) => each !== 'URX' && each !== '-');
  return [what, ...flag].join(' ').trim();
}

async function counted(server: BrokenServer, call: () => Promise<string>): Promise<{ what: string; tries: number }> {
  const before = server.requests();
  const what = await call();
  const tries = server.requests() - before;
  await server.reset();
  return { what, tries };
}

async function flagOf(envoy: Envoy, path: string): Promise<string> {
  for (let i = 0; i < 3_000; i++) {
    const line = envoy.accessLog().findLast((each) => each['path'] === path);
    if (line !== undefined) return String(line['flags']);
    await wait(10);
  }
  throw new Error(`Envoy does not log ${path}`);
}

/** `200 whole`, `200 cut`; `nothing` for what Node's client does not take for an answer. */
function viaEnvoy(port: number, path: string, policy: string): Promise<string> {
  return new Promise((resolve) => {
    const options = {
      port,
      host: '127.0.0.1',
      path,
      headers: { 'x-policy': policy },
      agent: false,
      maxHeaderSize: 1e6,
    };
    const call = httpRequest(options, (response) => {
      const { statusCode } = response;
      response.resume();
      response.on('end', () => resolve(`${statusCode} whole`)).on('error', () => resolve(`${statusCode} cut`));
    });
    call.on('upgrade', ({ statusCode }, socket) => {
      socket.destroy();
      resolve(`${statusCode} whole`);
    });
    call.on('error', () => resolve('nothing')).end();
  });
}

async function viaMesh(mesh: Mesh, url: string, policy: string): Promise<string> {
  try {
    const options = { dispatcher: mesh.dispatcher, headers: { 'x-policy': policy } };
    const { body, headers, statusCode } = await request(url, options);
    const code = headers['x-inmesh-error'];
    const flag = typeof code === 'string' ? ` ${errorTable[code as MeshErrorCode].flag}` : '';
    const failure = await body.arrayBuffer().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) return `${statusCode} whole${flag}`;
    return failure instanceof MeshError ? `${statusCode} cut ${failure.flag}` : String(failure);
  } catch (error) {
    return error instanceof MeshError ? `${error.status} whole ${error.flag}` : String(error);
  }
}

function filter(rows: readonly Row[], folder: string): Message {
  const routes = rows.flatMap((_, i) =>
    Object.entries(policies).map(([name, words]) => ({
      match: { prefix: `/${i}-/`, headers: [{ name: 'x-policy', string_match: { exact: name } }] },
      route: {
        cluster: `case-${i}`,
        timeout: '5s',
        ...(words === ''
          ? {}
          : { retry_policy: { retry_on: words, num_retries: 1, retry_back_off: { base_interval: '0.001s' } } }),
      },
    })),
  );
  const format = { path: '%REQ(:PATH)%', flags: '%RESPONSE_FLAGS%' };
  const log = typed('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
    path: join(folder, accessLogFile),
    log_format: { json_format: format },
  });
  return httpFilter('all', { virtualHost: { routes }, manager: { access_log: [{ name: 'file', typed_config: log }] } });
}

const yamlOf = ({ server, version }: Row, i: number): string => `
${brokenService(server, i, version === 1 ? 'HTTP' : 'HTTP2')}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: case-${i}, namespace: shop }
spec:
  hosts: [case-${i}]
  http:
${Object.entries(policies)
  .map(([name, words]) => routeTo(`case-${i}`, name, words))
  .join('\n')}
`;

function routeTo(host: string, name: string, words: string): string {
  const match = `match: [{ headers: { x-policy: { exact: '${name}' } } }]`;
  const retries = words === '' ? '{ attempts: 0 }' : `{ attempts: 1, retryOn: '${words}', backoff: 1ms }`;
  return `  - { ${match}, timeout: 5s, retries: ${retries}, route: [{ destination: { host: ${host} } }] }`;
}
