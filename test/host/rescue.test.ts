import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import t from 'tap';
import { MeshError, type MeshErrorCode } from '../../src/errors.ts';
import { answerFailure, failureBody, failureOf, problemDetails } from '../../src/host/rescue.ts';

function exchange(headers: Record<string, string> = {}): { request: IncomingMessage; response: ServerResponse } {
  const request = new IncomingMessage(new Socket());
  Object.assign(request, { httpVersionMajor: 1, httpVersionMinor: 1, httpVersion: '1.1' });
  Object.assign(request.headers, headers);
  return { request, response: new ServerResponse(request) };
}

t.test('whatever is no MeshError went wrong while deciding, and that is a refusal', async (t) => {
  const bug = new TypeError('undefined is not a function');
  t.match(failureOf(bug), { code: 'ERR_MESH_FORBIDDEN', status: 403, cause: bug });
  t.match(failureOf('thrown'), { status: 403 });
  const known = new MeshError('ERR_MESH_NOT_READY', 'soon');
  t.equal(failureOf(known), known);
  t.equal(failureOf(new Error('wrapped', { cause: known })), known);
});

t.test('the body says no more than the status does', async (t) => {
  const table: readonly (readonly [MeshErrorCode, string])[] = [
    ['ERR_MESH_FORBIDDEN', 'RBAC: access denied'],
    ['ERR_MESH_MTLS_REQUIRED', 'mTLS required'],
    ['ERR_MESH_BAD_REQUEST', 'bad request'],
    ['ERR_MESH_HEADERS_TOO_LARGE', 'request header fields too large'],
    ['ERR_MESH_HTTP_VERSION', 'HTTP version not supported'],
    ['ERR_MESH_NOT_READY', 'not ready'],
    ['ERR_MESH_DEADLINE_EXPIRED', 'request timeout'],
    ['ERR_MESH_NO_IDENTITY', 'service unavailable'],
  ];
  for (const [code, body] of table) t.equal(failureBody(new MeshError(code, 'secret detail')), body);
});

t.test('a failure becomes a response without what was prepared before', async (t) => {
  const { request, response } = exchange();
  response.setHeader('x-internal', 'detail');
  response.setHeader('set-cookie', 'a=1');
  answerFailure(request, response, new MeshError('ERR_MESH_FORBIDDEN', 'policy shop/secret-name denies it'));
  t.equal(response.statusCode, 403);
  t.same(
    { ...response.getHeaders() },
    { 'content-type': 'text/plain', 'content-length': 19, 'x-inmesh-error': 'ERR_MESH_FORBIDDEN' },
  );
  t.equal(response.shouldKeepAlive, true);
});

t.test('a connection that cannot be used again is closed', async (t) => {
  const keeps = (code: MeshErrorCode, headers: Record<string, string> = {}): boolean => {
    const { request, response } = exchange(headers);
    answerFailure(request, response, new MeshError(code, ''));
    return response.shouldKeepAlive;
  };
  t.equal(keeps('ERR_MESH_BAD_REQUEST'), false, 'framing is in doubt');
  t.equal(keeps('ERR_MESH_FORBIDDEN', { 'content-length': '1000000' }), false, 'a large body is on its way');
  t.equal(keeps('ERR_MESH_FORBIDDEN', { 'transfer-encoding': 'chunked' }), false, 'who knows how large');
  t.equal(keeps('ERR_MESH_FORBIDDEN', { 'content-length': '10' }), true);
});

t.test('a refused method names the others, and a response that has begun is cut', async (t) => {
  const { request, response } = exchange();
  answerFailure(request, response, new MeshError('ERR_MESH_METHOD', ''));
  t.match(response.getHeader('allow'), /GET/);
  const late = exchange();
  late.response.writeHead(200);
  late.response.flushHeaders();
  answerFailure(late.request, late.response, new MeshError('ERR_MESH_FORBIDDEN', ''));
  t.equal(late.response.destroyed, true);
});

t.test('problem details say what the text says', async (t) => {
  const failure = new MeshError('ERR_MESH_FORBIDDEN', 'policy shop/secret-name denies it');
  const body = {
    type: 'about:blank',
    title: 'Forbidden',
    status: 403,
    detail: 'RBAC: access denied',
    code: 'ERR_MESH_FORBIDDEN',
  };
  t.same(JSON.parse(problemDetails(failure)), body);
  const { request, response } = exchange({ accept: 'text/plain' });
  answerFailure(request, response, failure, 'problem');
  t.match(response.getHeaders(), {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(problemDetails(failure)),
  });
  t.equal(response.statusCode, 403);
  const told = new MeshError('ERR_MESH_FORBIDDEN', 'internal', { answerBody: 'Audiences in Jwt are not allowed – no' });
  t.match(JSON.parse(problemDetails(told)), { detail: 'Audiences in Jwt are not allowed – no' });
});

t.test('gRPC calls get a status of gRPC, whatever the format', async (t) => {
  const table: readonly (readonly [MeshErrorCode, number])[] = [
    ['ERR_MESH_BAD_REQUEST', 13],
    ['ERR_MESH_FORBIDDEN', 7],
    ['ERR_MESH_MTLS_REQUIRED', 7],
    ['ERR_MESH_RATE_LIMITED', 8],
    ['ERR_MESH_OVERLOADED', 14],
    ['ERR_MESH_DEADLINE_EXPIRED', 4],
    ['ERR_MESH_METHOD', 2],
  ];
  for (const [code, status] of table) {
    for (const type of ['application/grpc', 'application/grpc+proto']) {
      const { request, response } = exchange({ 'content-type': type });
      answerFailure(request, response, new MeshError(code, 'internal', { answerBody: 'no, 100 % sure\n' }), 'problem');
      t.equal(response.statusCode, 200, code);
      t.match(response.getHeaders(), {
        'content-type': 'application/grpc',
        'content-length': 0,
        'grpc-status': String(status),
        'grpc-message': 'no, 100 %25 sure%0A',
        'x-inmesh-error': code,
      });
    }
  }
  const { request, response } = exchange({ 'content-type': 'application/grpc-web' });
  answerFailure(request, response, new MeshError('ERR_MESH_FORBIDDEN', 'internal'));
  t.equal(response.statusCode, 403, 'gRPC-Web is no gRPC, as in Envoy');
});
