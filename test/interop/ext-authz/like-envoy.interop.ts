// What an Envoy asks an authorizer, and what it makes of the answer, against what we do.
import t from 'tap';
import { withEnvoy } from '../envoy/binary.ts';
import { cluster, httpVersion, loopback, type Message, typed } from '../envoy/bootstrap.ts';
import { echoServer } from '../envoy/echo.ts';
import { httpFilter } from '../envoy/http.ts';
import { startEnvoy } from '../envoy/run.ts';
import { type Answered, type Asked, asking, recordingAuthorizer } from './asked.ts';
import { type Fields, fields, answers as grpcAnswers, grpcAuthorizer } from './grpc-authorizer.ts';

/** Istio's `generateHTTPConfig` for the provider below. */
function extAuthz(): Message {
  const names = (...list: string[]): Message => ({
    patterns: list.map((text) =>
      text.endsWith('*') ? { prefix: text.slice(0, -1), ignore_case: true } : { exact: text, ignore_case: true },
    ),
  });
  return {
    name: 'envoy.filters.http.ext_authz',
    typed_config: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthz', {
      transport_api_version: 'V3',
      http_service: {
        path_prefix: '/check',
        server_uri: { uri: 'http://authz.test', cluster: 'authz', timeout: '5s' },
        authorization_request: { headers_to_add: [{ key: 'x-added', value: 'ours' }] },
        authorization_response: {
          allowed_upstream_headers: names('x-up-*', 'x-user'),
          allowed_client_headers: names('x-why', 'set-cookie'),
          allowed_client_headers_on_success: names('x-told'),
        },
      },
      allowed_headers: names('x-sent', 'x-many-*', 'x-added', 'x-envoy-auth-partial-body'),
      with_request_body: { max_request_bytes: 8, allow_partial_message: true },
    }),
  };
}

const provider = {
  pathPrefix: '/check',
  includeRequestHeadersInCheck: ['x-sent', 'x-many-*', 'x-added'],
  includeAdditionalHeadersInCheck: { 'x-added': 'ours' },
  includeRequestBodyInCheck: { maxRequestBytes: 8, allowPartialMessage: true },
  headersToUpstreamOnAllow: ['x-up-*', 'x-user'],
  headersToDownstreamOnDeny: ['x-why', 'set-cookie'],
  headersToDownstreamOnAllow: ['x-told'],
};

/** Of a client of Envoy's own inside; nothing that says anything of the request. */
const ofEnvoy = ['x-envoy-internal', 'x-forwarded-for', 'x-envoy-expected-rq-timeout-ms', 'connection', 'keep-alive'];
/** Of every call of a mesh. */
const ofMesh = ['x-request-id', 'x-envoy-attempt-count'];
/** A request without a body is sent without its length by our HTTP/1. */
const without = (headers: Readonly<Record<string, unknown>>, ...names: string[]) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));

interface Sent {
  readonly path: string;
  readonly init?: RequestInit;
}

const requests: Readonly<Record<string, Sent>> = {
  'a plain one': { path: '/a' },
  'a query and a path that is not canonical': { path: '/a/%2e/b%41?x=%20y&z' },
  headers: {
    path: '/a',
    init: {
      headers: [
        ['authorization', 'Bearer t'],
        ['cookie', 'a=b'],
        ['X-Sent', 'one'],
        ['x-many-a', '1'],
        ['x-many-a', '2'],
        ['x-other', 'no'],
        ['x-added', 'theirs'],
        ['x-envoy-auth-partial-body', 'theirs'],
      ],
    },
  },
  'a short body': { path: '/a', init: { method: 'POST', body: 'short' } },
  'a body as long as may be': { path: '/a', init: { method: 'PUT', body: '12345678' } },
  'a long body': { path: '/a', init: { method: 'POST', body: '123456789' } },
};

const answers: Readonly<Record<string, Answered>> = {
  'allow with headers': {
    status: 200,
    headers: [
      ['x-user', 'ann'],
      ['x-up-a', '1'],
      ['x-up-a', '2'],
      ['x-other', 'no'],
      ['x-told', 'yes'],
      ['x-told', 'twice'],
      ['x-envoy-auth-headers-to-remove', 'x-gone, host'],
    ],
  },
  'deny with headers': {
    status: 401,
    headers: [
      ['www-authenticate', 'Basic'],
      ['x-why', 'no'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['x-other', 'no'],
      ['content-type', 'application/json'],
    ],
    body: '{}',
  },
  redirect: { status: 302, headers: [['location', 'https://login.example/']] },
  'another success is none': { status: 204, headers: [] },
  'an error': { status: 503, headers: [['x-why', 'down']], body: 'down' },
};

t.test(
  ...withEnvoy('over HTTP the same is asked, and the answer has the same effect', async (t, program) => {
    let answer: Answered = { status: 200, headers: [] };
    const authorizer = await recordingAuthorizer(t, () => answer);
    const ours = await asking(t, { kind: 'envoyExtAuthzHttp', port: authorizer.port, more: provider });
    const app = await echoServer(t);
    const envoy = await startEnvoy(t, program, () => {
      const filters = [
        extAuthz(),
        { name: 'envoy.filters.http.router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router') },
      ];
      const http = httpFilter('app', { manager: { http_filters: filters } });
      const listener = { name: 'in', address: loopback(0), filter_chains: [{ filters: [http] }] };
      const clusters = [cluster('app', [app], httpVersion(1)), cluster('authz', [authorizer.port], httpVersion(1))];
      return { listeners: [listener], clusters };
    });
    const theirs = `http://127.0.0.1:${envoy.port('in')}`;

    for (const [name, { init, path }] of Object.entries(requests)) {
      await t.test(`the question: ${name}`, async (t) => {
        const asked = [];
        for (const base of [theirs, ours]) {
          await (await fetch(base + path, init)).arrayBuffer();
          const { body, headers, method, url } = authorizer.last() as Asked;
          const rest = without(
            headers,
            ...ofEnvoy,
            ...ofMesh,
            'host',
            ...(headers['content-length'] === '0' ? ['content-length'] : []),
          );
          t.equal(headers['host'], base.slice('http://'.length), 'the host is that of the request');
          asked.push({ method, url, body, headers: rest });
        }
        t.same(asked[1], asked[0]);
      });
    }

    for (const [name, given] of Object.entries(answers)) {
      await t.test(`the answer: ${name}`, async (t) => {
        answer = given;
        const seen = [];
        for (const base of [theirs, ours]) {
          const headers = { 'x-user': 'mallory', 'x-up-b': 'stays', 'x-gone': '1' };
          const response = await fetch(`${base}/a`, { headers, redirect: 'manual' });
          const text = await response.text();
          const told = [...response.headers].filter(([header]) =>
            /^(x-(told|why|other)|set-cookie|www|location)/.test(header),
          );
          const type = text === '' || response.status === 200 ? '' : response.headers.get('content-type');
          const inApp =
            response.status === 200 ? (JSON.parse(text) as { headers: Record<string, unknown> }).headers : {};
          const reached = Object.fromEntries(
            Object.entries(inApp).filter(([header]) => /^x-(u|gone|other)/.test(header)),
          );
          seen.push({ status: response.status, told, type, reached, text: response.status === 200 ? '' : text });
        }
        t.same(seen[1], seen[0]);
      });
    }
  }),
);

/** `CheckRequest` as Envoy and we have sent it, without what differs from one connection or moment to the next. */
function comparable(bytes: Uint8Array) {
  const [attributes] = (fields(bytes)[1] ?? []) as readonly Fields[];
  const { 1: source, 2: destination, 4: request, ...rest } = attributes ?? {};
  const [{ 2: [http] = [] } = {}] = (request ?? []) as readonly Record<number, readonly Fields[]>[];
  const { 1: _, 3: headers = [], 5: host, 9: size, ...same } = http ?? {};
  const named = (headers as readonly Fields[]).map((pair) => [String(pair[1]?.[0]), pair[2]?.[0]] as const);
  const shown = Object.fromEntries(named.filter(([name]) => !notCompared.has(name)).sort());
  const portless = (peers: unknown): string => JSON.stringify(peers).replaceAll(/"3":\[\d+\]/g, '"3":["a port"]');
  return {
    source: portless(source),
    destination: portless(destination),
    rest,
    http: same,
    shown,
    sized: size !== undefined,
    hosted: host !== undefined,
  };
}
/** Of the connection, or made by one of the two for every request. */
const notCompared: ReadonlySet<string> = new Set([':authority', 'x-request-id', 'x-forwarded-proto']);

t.test(
  ...withEnvoy('over gRPC the same is asked, and the answer has the same effect', async (t, program) => {
    let answer: Uint8Array = grpcAnswers['an OK']?.bytes ?? new Uint8Array(0);
    const authorizer = await grpcAuthorizer(t, () => answer);
    const body = { maxRequestBytes: 8, allowPartialMessage: true };
    const more = { includeRequestBodyInCheck: body };
    const ours = await asking(t, { kind: 'envoyExtAuthzGrpc', port: authorizer.port, more });
    const app = await echoServer(t);
    const envoy = await startEnvoy(t, program, () => {
      const filter = {
        name: 'envoy.filters.http.ext_authz',
        typed_config: typed('envoy.extensions.filters.http.ext_authz.v3.ExtAuthz', {
          transport_api_version: 'V3',
          grpc_service: { envoy_grpc: { cluster_name: 'authz', authority: 'authz.test' }, timeout: '5s' },
          with_request_body: { max_request_bytes: 8, allow_partial_message: true },
        }),
      };
      const router = typed('envoy.extensions.filters.http.router.v3.Router');
      const filters = [filter, { name: 'envoy.filters.http.router', typed_config: router }];
      const http = httpFilter('app', { manager: { http_filters: filters } });
      const listener = { name: 'in', address: loopback(0), filter_chains: [{ filters: [http] }] };
      const clusters = [cluster('app', [app], httpVersion(1)), cluster('authz', [authorizer.port], httpVersion(2))];
      return { listeners: [listener], clusters };
    });
    const theirs = `http://127.0.0.1:${envoy.port('in')}`;

    for (const [name, { init, path }] of Object.entries(requests)) {
      await t.test(`the question: ${name}`, async (t) => {
        const asked = [];
        for (const base of [theirs, ours]) {
          await (await fetch(base + path, init)).arrayBuffer();
          asked.push(comparable(authorizer.last()));
        }
        t.same(asked[1], asked[0]);
      });
    }

    for (const [name, { bytes, ours: other }] of Object.entries(grpcAnswers)) {
      await t.test(`the answer: ${name}`, async (t) => {
        answer = bytes;
        const seen = [];
        for (const base of [theirs, ours]) {
          const headers = { 'x-there': 'mallory', 'x-gone': '1' };
          const response = await fetch(`${base}/a?q=1&r=2`, { headers, redirect: 'manual' });
          const text = await response.text();
          const told = [...response.headers].filter(([header]) => /^(x-told|set-cookie|www)/.test(header));
          const inApp =
            response.status === 200
              ? (JSON.parse(text) as { headers: Record<string, unknown>; url: string })
              : undefined;
          const reached = Object.entries(inApp?.headers ?? {}).filter(([header]) =>
            /^x-(there|new|gone|none)/.test(header),
          );
          seen.push({
            status: response.status,
            told,
            url: inApp?.url,
            reached: reached.sort(),
            text: inApp === undefined ? text : '',
          });
        }
        if (other === undefined) t.same(seen[1], seen[0]);
        else t.match(seen[1], other);
      });
    }
  }),
);
