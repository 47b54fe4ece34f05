import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { type CheckAttributes, createMesh } from 'inmesh';
import t, { type Test } from 'tap';
import { writeCheckRequest } from '../src/check-request.ts';
import { readCheckResponse } from '../src/check-response.ts';
import { grpcExternalAuthorization } from '../src/index.ts';
import { encode, header, message, number, string, type Write } from './support/write-message.ts';

/** A message as numbers and contents: fields that hold messages are read as such where `deep` says so. */
function fields(bytes: Uint8Array, deep: Deep = {}): Record<number, unknown[]> {
  const reader = new BinaryReader(bytes);
  const found: Record<number, unknown[]> = {};
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const inner = deep[number];
    found[number] ??= [];
    if (type === WireType.Varint) found[number].push(Number(reader.int64()));
    else if (inner === undefined) found[number].push(reader.string());
    else found[number].push(fields(reader.bytes(), inner));
  }
  return found;
}
interface Deep {
  readonly [field: number]: Deep;
}
const address = { 1: { 1: {} } };
const request = { 1: { 1: address, 2: address, 4: { 1: {}, 2: { 3: {} } }, 11: {}, 13: {} } };

const attributes: CheckAttributes = {
  source: { address: '10.0.0.7', port: 4321, principal: 'spiffe://cluster.local/ns/shop/sa/ann' },
  destination: { address: '10.0.0.8', port: 8080, principal: '' },
  timeMs: 1_700_000_000_250,
  id: '7',
  method: 'POST',
  path: '/a?b=1',
  host: 'web:80',
  scheme: 'https',
  protocol: 'HTTP/2',
  headers: new Map([
    [':path', '/a?b=1'],
    ['x-latin', 'caf\xe9'],
    ['x-utf8', Buffer.from('café').toString('latin1')],
  ]),
};

t.test('a question has the fields that Envoy fills', async (t) => {
  t.same(fields(writeCheckRequest(attributes), request), {
    1: [
      {
        1: [{ 1: [{ 1: [{ 2: ['10.0.0.7'], 3: [4321] }] }], 4: ['spiffe://cluster.local/ns/shop/sa/ann'] }],
        2: [{ 1: [{ 1: [{ 2: ['10.0.0.8'], 3: [8080] }] }] }],
        4: [
          {
            1: [{ 1: [1_700_000_000], 2: [250_000_000] }],
            2: [
              {
                1: ['7'],
                2: ['POST'],
                3: [
                  { 1: [':path'], 2: ['/a?b=1'] },
                  { 1: ['x-latin'], 2: ['caf!'] },
                  { 1: ['x-utf8'], 2: ['café'] },
                ],
                4: ['/a?b=1'],
                5: ['web:80'],
                6: ['https'],
                10: ['HTTP/2'],
              },
            ],
          },
        ],
        11: [{}],
        13: [{}],
      },
    ],
  });
});

t.test('a body goes along as text or as bytes', async (t) => {
  const bytes = Buffer.from([0x61, 0xff]);
  const httpOf = (asBytes: boolean): Record<number, unknown[]> => {
    const written = writeCheckRequest({ ...attributes, headers: new Map(), body: { bytes, partial: false, asBytes } });
    const [{ 4: [{ 2: [http] = [] } = {}] = [] } = {}] = fields(written, request)[1] as Record<
      number,
      Record<number, unknown[]>[]
    >[];
    return http as Record<number, unknown[]>;
  };
  t.match(httpOf(false), { 9: [2], 11: ['a!'] });
  t.match(httpOf(true), { 9: [2], 12: ['a\ufffd'] });
  t.notOk(11 in httpOf(true));
});

const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));

t.test('an OK changes what it says', async (t) => {
  const read = readCheckResponse(
    encode(
      message(1),
      message(
        3,
        header(2, 'x-set', '1'),
        header(2, 'x-append', '2', message(2, number(1, 1))),
        header(2, 'x-no-append', '3', message(2)),
        header(2, 'x-absent', '4', number(3, 1)),
        header(2, 'x-over', '5', number(3, 2)),
        header(2, 'x-exists', '6', number(3, 3)),
        string(5, 'x-gone'),
        header(6, 'x-told', 'é'),
        message(7, string(1, 'q'), string(2, 'é')),
        string(8, 'r'),
      ),
      message(4),
      string(99, 'later'),
    ),
  );
  t.same(read, {
    kind: 'allow',
    requestHeaders: [
      { name: 'x-set', value: '1', action: 'overwrite' },
      { name: 'x-append', value: '2', action: 'append' },
      { name: 'x-no-append', value: '3', action: 'overwrite' },
      { name: 'x-absent', value: '4', action: 'add-if-absent' },
      { name: 'x-over', value: '5', action: 'overwrite' },
      { name: 'x-exists', value: '6', action: 'overwrite-if-exists' },
    ],
    removedHeaders: ['x-gone'],
    responseHeaders: [{ name: 'x-told', value: 'Ã©', action: 'overwrite' }],
    query: { set: [['q', 'é']], remove: ['r'] },
  });
  const bare = { kind: 'allow', requestHeaders: [], removedHeaders: [], responseHeaders: [] };
  t.same(readCheckResponse(encode(message(1, number(1, 0)))), bare);
  t.same(readCheckResponse(encode()), bare, 'without a status it is OK, as in protobuf');
  // A denial beside an OK: the status decides, as in Envoy.
  t.same(readCheckResponse(encode(message(1), message(2, message(1, number(1, 401))))), bare);
});

t.test('any other status is a denial, or says that it could not decide', async (t) => {
  const denied = message(2, message(1, number(1, 401)), header(2, 'x-why', 'no'), string(3, 'body'));
  const code = (value: number): Write => message(1, number(1, value));
  const headers = [{ name: 'x-why', value: 'no', action: 'overwrite' }];
  t.same(readCheckResponse(encode(code(7), denied)), { kind: 'deny', status: 401, headers, body: text('body') });
  t.same(readCheckResponse(encode(code(16))), { kind: 'deny', status: 403, headers: [], body: text('') });
  t.same(readCheckResponse(encode(code(7), message(3))), { kind: 'deny', status: 403, headers: [], body: text('') });
  t.same(readCheckResponse(encode(code(14), message(5, string(3, 'later')))), {
    kind: 'error',
    headers: [],
    body: text('later'),
  });
  t.match(readCheckResponse(encode(code(14), message(5, message(1, number(1, 503))))), { kind: 'error', status: 503 });
});

t.test('what is no answer is an error', async (t) => {
  t.throws(() => readCheckResponse(Buffer.from('0a', 'hex')));
  const unknown = encode(message(1), message(3, header(2, 'x', '1', number(3, 9))));
  t.throws(() => readCheckResponse(unknown), /unknown append_action 9/);
});

type Handler = (question: Uint8Array) => Uint8Array | { readonly code: number };

/** A mesh whose CUSTOM policy asks a real gRPC server about `/ask`. */
async function serve(t: Test, handler: Handler, more = '') {
  const server = new Server();
  const raw = {
    requestSerialize: Buffer.from,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: Buffer.from,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
  const method = {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
    ...raw,
  };
  server.addService(
    { check: method } as never,
    {
      check(call: { request: Buffer }, done: (error: unknown, answer?: Uint8Array) => void) {
        const answer = handler(call.request);
        if (answer instanceof Uint8Array) done(null, answer);
        else done(answer);
      },
    } as never,
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.teardown(() => server.forceShutdown());
  const config = t.testdir({
    'mesh.yaml': `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders: [{name: grpc, envoyExtAuthzGrpc: {service: authz.test, port: 9000, timeout: 5s${more}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: authz, namespace: shop}
spec: {hosts: [authz.test], ports: [{number: 9000, name: grpc, protocol: GRPC}], resolution: STATIC, endpoints: [{address: 127.0.0.1, ports: {grpc: ${port}}}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: grpc}, rules: [{to: [{operation: {paths: [/ask]}}]}]}
`,
  });
  const workload = { name: 'web', namespace: 'shop' };
  const mesh = createMesh({ config, identity: false, workload, externalAuthorization: grpcExternalAuthorization() });
  t.teardown(() => mesh.close());
  const listening = await mesh.listen(
    (asked, response) => void response.end(JSON.stringify({ headers: asked.headers, url: asked.url })),
    { port: 0, host: '127.0.0.1' },
  );
  return { mesh, server, call: (headers = {}) => fetch(`http://127.0.0.1:${listening.port}/ask?a=1`, { headers }) };
}

t.test('a real gRPC server is asked through the mesh, and its word is done', async (t) => {
  let question: Uint8Array = Buffer.alloc(0);
  let answer = encode(message(1), message(3, header(2, 'x-user', 'ann')));
  const { call, mesh } = await serve(t, (bytes) => {
    question = bytes;
    return answer;
  });
  const allowed = await call({ 'x-user': 'mallory' });
  t.match(await allowed.json(), { headers: { 'x-user': 'ann' }, url: '/ask?a=1' });
  const [{ 4: [{ 2: [http] = [] } = {}] = [] } = {}] = fields(question, request)[1] as Record<
    number,
    Record<number, unknown[]>[]
  >[];
  t.match(http, { 2: ['GET'], 4: ['/ask?a=1'], 6: ['http'], 10: ['HTTP/1.1'] });
  answer = encode(message(1, number(1, 7)), message(2, message(1, number(1, 401)), string(3, 'who are you?')));
  const denied = await call();
  t.equal(denied.status, 401);
  t.equal(await denied.text(), 'who are you?');
  t.match(mesh.stats().authorizers, [{ name: 'grpc', asked: 2, allowed: 1, denied: 1 }]);
});

t.test('a server that fails, or answers what is no answer, has not allowed anything', async (t) => {
  for (const answer of [{ code: status.UNAVAILABLE }, { code: status.PERMISSION_DENIED }, Buffer.from('0a', 'hex')]) {
    const { call, mesh } = await serve(t, () => answer, ', statusOnError: "503"');
    const refused = await call();
    t.equal(refused.status, 503);
    t.equal(refused.headers.get('x-inmesh-error'), 'ERR_MESH_AUTHORIZER');
    t.match(mesh.stats().authorizers, [{ asked: 1, failed: 1 }]);
  }
  const open = await serve(t, () => ({ code: status.UNAVAILABLE }), ', failOpen: true');
  t.equal((await open.call()).status, 200);
});

t.test('a server that is gone has not allowed anything', async (t) => {
  const { call, server } = await serve(t, () => encode(message(1)));
  t.equal((await call()).status, 200);
  server.forceShutdown();
  t.equal((await call()).status, 403);
});
