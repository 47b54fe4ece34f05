import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { request as send } from 'undici';
import { type CompileOptions, compile } from '../../src/config/compile.ts';
import { documentOf } from '../../src/config/document.ts';
import { describeProblem } from '../../src/config/problem.ts';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { web } from '../config/support.ts';
import { recordingLogger } from '../support/recording-logger.ts';

/** Requests altogether: configurations, and requests for each. */
const configurations = 200;
const requestsEach = 50;

interface Seen {
  readonly server: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A server that says who it is and what it was sent. */
async function echo(t: Test, server: string): Promise<number> {
  const listening = createServer((request, response) => {
    request.resume();
    const { method, url, headers } = request;
    response.setHeader('x-from', 'server');
    response.end(JSON.stringify({ server, method, url, headers }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => listening.once('listening', resolve));
  t.teardown(() => new Promise((resolve) => listening.close(resolve).closeAllConnections()));
  return (listening.address() as AddressInfo).port;
}

const services = ['alpha', 'beta'];
const versions = ['v1', 'v2'];
const words = ['a', 'b', 'ab', 'x-1'];
const word = fc.constantFrom(...words);
const path = fc
  .array(fc.constantFrom('api', 'v1', 'Api', 'item', 'x'), { maxLength: 3 })
  .map((parts) => `/${parts.join('/')}`);
const weight = fc.integer({ min: 0, max: 100 });
const percentage = fc.constantFrom(0, 0.5, 10, 50, 100);

const stringMatch = fc.oneof(
  fc.record({ exact: word }),
  fc.record({ prefix: word }),
  fc.constantFrom({ regex: 'a.*' }, { regex: '[abx]' }, {}),
);
const uriMatch = fc.oneof(
  fc.record({ exact: path }),
  fc.record({ prefix: path }),
  fc.constantFrom({ regex: '/(api|x).*' }, { regex: '/v1' }),
);
const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const match = fc.record({
  uri: some(uriMatch),
  ignoreUriCase: some(fc.boolean()),
  method: some(fc.record({ exact: fc.constantFrom('GET', 'POST') })),
  headers: some(fc.dictionary(fc.constantFrom('x-a', 'x-b'), stringMatch, { minKeys: 1, maxKeys: 2 })),
  withoutHeaders: some(fc.dictionary(fc.constantFrom('x-c'), stringMatch, { minKeys: 1, maxKeys: 1 })),
  queryParams: some(fc.dictionary(fc.constantFrom('q'), fc.record({ exact: word }), { minKeys: 1, maxKeys: 1 })),
  port: some(fc.constantFrom(80, 81)),
  sourceLabels: some(fc.constantFrom({ app: 'web' }, { app: 'other' })),
});
const edits = fc.record({
  request: some(
    fc.record({
      set: some(fc.constantFrom({ 'x-set': '1' }, { 'x-a': 'set', 'x-set': '2' }, { host: 'edited.example' })),
      add: some(fc.constantFrom({ 'x-add': '1' }, { 'x-set': 'added' })),
      remove: some(fc.constantFrom(['x-b'], ['x-set'])),
    }),
  ),
  response: some(
    fc.record({
      set: some(fc.constantFrom({ 'x-answer': '1' })),
      remove: some(fc.constantFrom(['x-from'])),
    }),
  ),
});
const destination = fc.record({
  host: fc.constantFrom(...services, 'alpha', 'beta', 'nowhere'),
  subset: some(fc.constantFrom(...versions)),
});
const routed = fc.record({
  route: fc.array(fc.record({ destination, weight, headers: some(edits) }), { minLength: 1, maxLength: 3 }),
  rewrite: some(
    fc.oneof(
      fc.record({ uri: fc.constantFrom('/new', '/', '/new/') }),
      fc.constantFrom(
        { authority: 'rewritten.example' },
        { uri: '/both', authority: 'rewritten.example' },
        { uriRegexRewrite: { match: '/api(.*)', rewrite: '/re\\1' } },
      ),
    ),
  ),
  headers: some(edits),
  fault: some(
    fc.record({
      abort: fc.record({ httpStatus: fc.constantFrom(418, 503), percentage: fc.record({ value: percentage }) }),
    }),
  ),
});
const redirected = fc.record({
  redirect: fc.constantFrom(
    { uri: '/moved' },
    { authority: 'moved.example' },
    { uri: '/moved', authority: 'moved.example', redirectCode: 302 },
    { scheme: 'https', port: 8443 },
    { uri: '/moved?own=1', redirectCode: 307 },
  ),
});
const direct = fc.record({
  directResponse: fc.record({ status: fc.constantFrom(200, 404, 503), body: fc.constantFrom({ string: 'mine' }) }),
  headers: some(fc.constantFrom({ response: { set: { 'x-answer': '1' } } })),
});
const rule = fc
  .tuple(fc.array(match, { maxLength: 2 }), fc.oneof({ weight: 6, arbitrary: routed }, redirected, direct))
  .map(([matches, action]) => ({ match: matches, ...action }));
const configuration = fc.record({
  alpha: fc.array(rule, { minLength: 1, maxLength: 4 }),
  beta: fc.array(rule, { maxLength: 3 }),
  registryOnly: fc.boolean(),
});
const question = fc.record({
  host: fc.constantFrom('alpha', 'alpha.shop', 'alpha.shop.svc.cluster.local', 'beta', 'outside'),
  method: fc.constantFrom('GET', 'POST', 'DELETE'),
  path,
  query: some(fc.constantFrom('q=a', 'q=ab&z=1', 'z')),
  headers: fc.dictionary(fc.constantFrom('x-a', 'x-b', 'x-c'), word, { maxKeys: 3 }),
  random: fc.integer({ min: 0, max: 999 }).map((n) => n / 1_000),
});

/** Absent fields are absent in YAML too; what Istio's webhook refuses is left out by the caller. */
const clean = <T>(value: T): T => JSON.parse(JSON.stringify(value));

function resources(
  config: { readonly alpha: readonly object[]; readonly beta: readonly object[] },
  ports: ReadonlyMap<string, number>,
): object[] {
  const metadata = (name: string): object => ({ name, namespace: 'shop' });
  const of = (kind: string, name: string, spec: object): object => ({
    apiVersion: 'networking.istio.io/v1',
    kind,
    metadata: metadata(name),
    spec,
  });
  return services.flatMap((name) => {
    const host = `${name}.shop.svc.cluster.local`;
    const endpoints = versions.map((version) => ({
      address: '127.0.0.1',
      labels: { app: name, version },
      ports: { http: ports.get(`${name} ${version}`) },
    }));
    const http = name === 'alpha' ? config.alpha : config.beta;
    const subsets = versions.map((version) => ({ name: version, labels: { version } }));
    return [
      of('ServiceEntry', name, {
        hosts: [host],
        location: 'MESH_INTERNAL',
        resolution: 'STATIC',
        ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
        endpoints,
      }),
      of('DestinationRule', name, { host, subsets, trafficPolicy: { outlierDetection: { consecutive5xxErrors: 0 } } }),
      ...(http.length === 0 ? [] : [of('VirtualService', name, { hosts: [name], http: clean(http) })]),
    ];
  });
}

/** Compares what explain says with what happens to the same request. */
async function compare(
  mesh: Mesh,
  asked: { readonly url: string; readonly method: string; readonly headers: Readonly<Record<string, string>> },
  random: number,
): Promise<string> {
  const { headers, method, url } = asked;
  const said = mesh.explain({ url, method, headers, random });
  const answer = await send(url, { dispatcher: mesh.dispatcher, method: method as 'GET', headers });
  const body = await answer.body.text();
  const check = (what: string, actual: unknown, expected: unknown): void => {
    if (JSON.stringify(actual) === JSON.stringify(expected)) return;
    const both = `${what}: ${JSON.stringify(actual)} in traffic, ${JSON.stringify(expected)} explained`;
    throw new Error(`${both}\n${method} ${url} ${JSON.stringify(headers)} random ${random}\n${said.text}`);
  };
  const error = answer.headers['x-inmesh-error'];
  switch (said.decision) {
    case 'redirect':
      check('status', answer.statusCode, said.redirect?.status);
      check('location', answer.headers['location'], said.redirect?.location);
      return said.decision;
    case 'direct':
      check('status', answer.statusCode, said.direct?.status);
      check('body', body, said.direct?.body);
      for (const [name, value] of Object.entries(said.responseHeaders?.set ?? {}))
        check(name, answer.headers[name], value);
      return said.decision;
    case 'no-route':
      check('error', [answer.statusCode, error], [404, 'ERR_MESH_NO_ROUTE']);
      return said.decision;
    case 'refused':
      check('error', error, 'ERR_MESH_HOST_UNKNOWN');
      return said.decision;
    case 'passthrough':
      check('server', (JSON.parse(body) as Seen).server, 'outside');
      return said.decision;
    default:
  }
  const { cluster = '', fault } = said;
  if (said.notes.some((note) => note.includes('does not exist'))) {
    check('error', error, 'ERR_MESH_NO_CLUSTER');
    return 'no cluster';
  }
  if (fault?.abort !== undefined) {
    check(
      'status',
      [answer.statusCode, body],
      ['httpStatus' in fault.abort ? fault.abort.httpStatus : 0, 'fault filter abort'],
    );
    return 'abort';
  }
  check('status', answer.statusCode, 200);
  const seen = JSON.parse(body) as Seen;
  const [, , subset = '', host = ''] = cluster.split('|');
  const service = host.split('.')[0] ?? '';
  check(
    'server',
    subset === '' ? seen.server.split(' ')[0] : seen.server,
    subset === '' ? service : `${service} ${subset}`,
  );
  check('path', seen.url, said.path);
  check('authority', seen.headers['host'], said.authority);
  const sent = said.requestHeaders ?? { set: {}, add: {}, remove: [] };
  for (const name of ['x-set', 'x-add', 'x-a', 'x-b']) {
    const own = sent.remove.includes(name) ? [] : name in headers ? [headers[name]] : [];
    const set = name in sent.set ? [sent.set[name]] : own;
    const added = name in sent.add ? [sent.add[name]].flat() : [];
    const expected = [...set, ...added].join(', ');
    check(name, seen.headers[name] ?? '', expected);
  }
  const response = said.responseHeaders ?? { set: {}, add: {}, remove: [] };
  check('x-from', answer.headers['x-from'], response.remove.includes('x-from') ? undefined : 'server');
  check('x-answer', answer.headers['x-answer'], response.set['x-answer']);
  return said.decision;
}

t.test(`explain agrees with the traffic: ${configurations * requestsEach} random requests`, async (t) => {
  const ports = new Map<string, number>();
  for (const service of services) {
    for (const version of versions) ports.set(`${service} ${version}`, await echo(t, `${service} ${version}`));
  }
  const outside = await echo(t, 'outside');
  const outcomes = new Map<string, number>();
  const invalid = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      configuration,
      fc.array(question, { minLength: requestsEach, maxLength: requestsEach }),
      async (config, questions) => {
        let current = 0;
        const options: CompileOptions = {
          workload: web,
          ...(config.registryOnly ? { outboundPolicy: 'REGISTRY_ONLY' } : {}),
        };
        const objects = resources(config, ports);
        const compiled = compile(objects.map(documentOf), options);
        if (!compiled.ok) {
          for (const problem of compiled.problems) invalid.add(describeProblem(problem).replace(/[0-9]+/g, 'n'));
          fc.pre(false);
        }
        const source = staticSource(objects, options);
        const logger = recordingLogger();
        const mesh = createMesh({ workload: web, config: source, identity: false, logger, random: () => current });
        try {
          await mesh.ready();
          for (const { headers, host, method, path: target, query, random } of questions) {
            current = random;
            const url = `http://${host === 'outside' ? `127.0.0.1:${outside}` : host}${target}${query === undefined ? '' : `?${query}`}`;
            const outcome = await compare(mesh, { url, method, headers }, random);
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          }
        } finally {
          await mesh.close();
        }
      },
    ),
    { numRuns: configurations, maxSkipsPerRun: 100 },
  );
  t.comment(JSON.stringify(Object.fromEntries(outcomes)));
  for (const problem of invalid) t.comment(`left out: ${problem}`);
  for (const kind of ['route', 'redirect', 'direct', 'no-route', 'refused', 'passthrough', 'no cluster', 'abort']) {
    t.ok((outcomes.get(kind) ?? 0) > 0, `${kind}: ${outcomes.get(kind)}`);
  }
});
