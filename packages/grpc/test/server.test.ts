import { once } from 'node:events';
import { createServer } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { type MeshError, type RequestContext, requestContext } from 'inmesh';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../../test/support/certificates.ts';
import { frameTypes } from '../../../test/support/http2-frames.ts';
import { endHeaders, endStream, literals, rawHttp2 } from '../../../test/support/http2-raw-client.ts';
import { jwksOf, makeToken, makeTokenKey } from '../../../test/support/tokens.ts';
import { MeshServer } from '../src/index.ts';
import { checkGrpcJs } from '../src/server/grpc-js-server.ts';
import { bound, drained, type Echo, type Ended, serveEcho, unary } from './support/served.ts';

const authority = makeAuthority();
const ann = 'spiffe://cluster.local/ns/shop/sa/ann';
const policy = (kind: string, spec: string, api = 'security.istio.io/v1'): string =>
  `apiVersion: ${api}\nkind: ${kind}\nmetadata: {name: it, namespace: shop}\nspec: ${spec}\n`;
const mtls = (mode: string): string => policy('PeerAuthentication', `{mtls: {mode: ${mode}}}`);

t.test('calls of every kind are served over mutual TLS, and handlers know who calls', async (t) => {
  const seen: string[] = [];
  const note = (kind: string): void => void seen.push(`${kind} ${requestContext().peer?.spiffeId}`);
  const { client } = await serveEcho(t, {
    authority,
    yaml: mtls('STRICT'),
    handlers: {
      unary: (call, reply) => {
        note('unary');
        const { sslPeerCertificate: certificate } = call.getAuthContext();
        reply(null, `${call.request} ${call.getPeer().startsWith('127.0.0.1:')} ${certificate?.subjectaltname}`);
      },
      collect: (call, reply) => {
        let count = 0;
        call.on('data', () => {
          note('collect');
          count++;
        });
        call.on('end', () => reply(null, String(count)));
      },
      repeat: (call) => {
        note('repeat');
        call.write(call.request);
        setImmediate(() => {
          note('repeat later');
          call.write(call.request);
          call.end();
        });
      },
      chat: (call) => {
        call.on('data', (message: string) => {
          note('chat');
          call.write(message);
        });
        call.on('end', () => {
          note('chat end');
          call.end();
        });
      },
    },
  });
  const caller = client(ann);
  t.match(await unary(caller, 'a'), { code: 0, messages: [`a true URI:${ann}`] });
  const collected = new Promise((resolve) => {
    const call = caller.collect((_error: unknown, message: string) => resolve(message));
    for (const each of ['x', 'y']) call.write(each);
    call.end();
  });
  t.equal(await collected, '2');
  t.match(await drained(caller.repeat('r')), { code: 0, messages: ['r', 'r'] });
  const chat = caller.chat();
  for (const each of ['x', 'y']) chat.write(each);
  chat.end();
  t.match(await drained(chat), { code: 0, messages: ['x', 'y'] });
  const kinds = ['unary', 'collect', 'collect', 'repeat', 'repeat later', 'chat', 'chat', 'chat end'];
  t.same(
    seen,
    kinds.map((kind) => `${kind} ${ann}`),
  );
});

t.test('the mode of mTLS decides who may connect', async (t) => {
  const table: readonly (readonly [mode: string, who: string | undefined, code: number])[] = [
    ['STRICT', ann, status.OK],
    ['STRICT', undefined, status.UNAVAILABLE],
    ['PERMISSIVE', ann, status.OK],
    ['PERMISSIVE', undefined, status.OK],
    ['DISABLE', undefined, status.OK],
    ['DISABLE', ann, status.UNAVAILABLE],
  ];
  for (const [mode, who, code] of table) {
    const { client } = await serveEcho(t, { authority, yaml: mtls(mode) });
    t.match(await unary(client(who), 'a'), { code }, `${mode} ${who ?? 'plaintext'}`);
  }
});

const tokenKey = makeTokenKey('ES256', { kid: 'k1', alg: 'ES256' });
const claims = { iss: 'https://issuer', sub: 'ann', exp: 4_000_000_000 };
const token = makeToken({ alg: 'ES256', claims, key: tokenKey });
const bearer = (text: string): Metadata => {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${text}`);
  return metadata;
};
const tokens = policy('RequestAuthentication', `{jwtRules: [{issuer: 'https://issuer', jwks: '${jwksOf(tokenKey)}'}]}`);
const deny = (path: string): string =>
  policy('AuthorizationPolicy', `{action: DENY, rules: [{to: [{operation: {paths: ['${path}']}}]}]}`);

t.test('what policy refuses ends with the status of gRPC that stands for it, before any handler', async (t) => {
  const custom = policy('AuthorizationPolicy', '{action: CUSTOM, provider: {name: nobody}, rules: [{}]}');
  const limit = policy(
    'RateLimit',
    '{local: [{name: one, tokenBucket: {maxTokens: 1, fillInterval: 1h}}]}',
    'inmesh.dev/v1',
  );
  const overload = policy('OverloadPolicy', '{concurrency: {maxRequests: 1}}', 'inmesh.dev/v1');
  const principal = policy('AuthorizationPolicy', "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}");
  type Row = readonly [what: string, yaml: string, more: readonly unknown[], code: number, details: string];
  const table: readonly Row[] = [
    ['DENY', deny('/test.Echo/Unary'), [], status.PERMISSION_DENIED, 'RBAC: access denied'],
    ['DENY of the service', deny('/test.Echo/*'), [], status.PERMISSION_DENIED, 'RBAC: access denied'],
    ['DENY of another method', deny('/test.Echo/Chat'), [], status.OK, ''],
    ['ALLOW nobody', policy('AuthorizationPolicy', '{}'), [], status.PERMISSION_DENIED, 'RBAC: access denied'],
    ['CUSTOM without anybody to ask', custom, [], status.PERMISSION_DENIED, 'RBAC: access denied'],
    [
      'no token where one is demanded',
      `${tokens}---\n${principal}`,
      [],
      status.PERMISSION_DENIED,
      'RBAC: access denied',
    ],
    ['a good token', `${tokens}---\n${principal}`, [bearer(token)], status.OK, ''],
    ['a bad token', tokens, [bearer(`${token}x`)], status.UNAUTHENTICATED, ''],
    ['a rate limit', limit, [], status.RESOURCE_EXHAUSTED, 'rate limited'],
    ['overload', overload, [], status.UNAVAILABLE, 'reached concurrency limit'],
  ];
  for (const [what, yaml, more, code, details] of table) {
    let runs = 0;
    let release = (): void => {};
    const { client, mesh } = await serveEcho(t, {
      yaml,
      handlers: {
        unary: (call, reply) => {
          runs++;
          if (what === 'overload' && runs === 1) release = () => reply(null, '');
          else reply(null, call.request);
        },
      },
    });
    const caller = client();
    const allowedFirst = what === 'a rate limit' || what === 'overload';
    const first = allowedFirst ? unary(caller, 'first') : undefined;
    if (what === 'overload') while (runs === 0) await new Promise((resolve) => setImmediate(resolve));
    else await first;
    const before = runs;
    const ended = await unary(caller, 'a', ...more);
    t.match(ended, { code, ...(details === '' ? {} : { details }) }, what);
    t.equal(runs - before, code === status.OK ? 1 : 0, `${what}: handlers`);
    if (code !== status.OK) {
      t.equal(ended.metadata['content-type'], 'application/grpc', `${what}: no body of another kind`);
      t.match(ended.metadata['x-inmesh-error'], /^ERR_MESH_/, what);
    }
    release();
    await new Promise((resolve) => setImmediate(resolve));
    const [series] = mesh.stats().requests;
    t.ok(series?.outcomes.some(({ grpcStatus }) => grpcStatus === code) === true, `${what}: it is counted`);
  }
});

t.test('IDH-014: metadata that only the mesh may assert is removed, or is its own', async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { client } = await serveEcho(t, {
    authority,
    handlers: {
      unary: (call, reply) => {
        seen.push(call.metadata.getMap());
        reply(null, '');
      },
    },
  });
  const forged = new Metadata();
  const names = ['x-forwarded-client-cert', 'grpc-internal-principal', 'x-envoy-retry-on', 'x-mesh-peer', 'x-inmesh-a'];
  for (const name of names) forged.set(name, 'URI=spiffe://cluster.local/ns/shop/sa/admin');
  forged.set('x-own', 'kept');
  forged.set('own-bin', Buffer.from([0, 255]));
  await unary(client(), 'a', forged);
  await unary(client(ann), 'a', forged);
  for (const metadata of seen) {
    for (const name of names.slice(1)) t.notOk(name in metadata, name);
    t.match(metadata, { 'x-own': 'kept', 'own-bin': Buffer.from([0, 255]) });
    t.notOk('host' in metadata, 'the authority is no metadata');
  }
  t.notOk('x-forwarded-client-cert' in (seen[0] ?? {}), 'plaintext: nobody is vouched for');
  t.match(seen[1]?.['x-forwarded-client-cert'], new RegExp(`^By=spiffe://.*;Hash=[0-9a-f]{64};.*URI=${ann}$`));
});

/** A connection that speaks HTTP/2 without anything of gRPC. */
function session(t: Test, port: number): ClientHttp2Session {
  const opened = connect(`http://127.0.0.1:${port}`);
  opened.on('error', () => {});
  t.teardown(() => opened.destroy());
  return opened;
}

interface RawAnswer {
  readonly status: unknown;
  readonly grpc: unknown;
  readonly message: unknown;
  readonly body: string;
  readonly reset: number | undefined;
}

/** What a stream is answered; trailers or head, wherever the status is. */
async function answered(stream: ClientHttp2Stream): Promise<RawAnswer> {
  let head: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  let body = '';
  stream.on('response', (headers) => (head = headers));
  stream.on('trailers', (headers) => (trailers = headers));
  stream.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
  stream.on('error', () => {});
  await once(stream, 'close').catch(() => {});
  const all = { ...head, ...trailers };
  const { ':status': code, 'grpc-status': grpc, 'grpc-message': message } = all;
  return { status: code, grpc, message, body, reset: stream.rstCode };
}

const usual = { ':method': 'POST', ':path': '/test.Echo/Unary', 'content-type': 'application/grpc', te: 'trailers' };
const message = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), Buffer.from(text)]);

t.test('what is asked decides who answers, and paths are read as policy reads them', async (t) => {
  const runs: string[] = [];
  const { port } = await serveEcho(t, {
    yaml: deny('/test.Echo/Chat'),
    handlers: {
      unary: (call, reply) => {
        runs.push(call.getPath());
        reply(null, call.request);
      },
    },
  });
  const peer = session(t, port);
  const table: readonly (readonly [string, OutgoingHttpHeaders, object])[] = [
    ['a call', {}, { status: 200, grpc: '0' }],
    ['with a codec', { 'content-type': 'application/grpc+proto' }, { status: 200, grpc: '0' }],
    ['another content type', { 'content-type': 'application/json' }, { status: 415, grpc: undefined }],
    ['gRPC-Web', { 'content-type': 'application/grpc-web' }, { status: 415 }],
    ['no POST', { ':method': 'PUT' }, { status: 415 }],
    ['a method that nobody serves', { ':path': '/test.Echo/None' }, { status: 200, grpc: '12' }],
    ['a denied method', { ':path': '/test.Echo/Chat' }, { grpc: '7' }],
    ['denied, with an escape', { ':path': '/test.Echo/%43hat' }, { grpc: '7' }],
    ['denied, by dots', { ':path': '/x/../test.Echo/Chat' }, { grpc: '7' }],
    ['denied, with a query', { ':path': '/test.Echo/Chat?a' }, { grpc: '7' }],
    ['denied, with doubled slashes', { ':path': '//test.Echo//Chat' }, { grpc: '7' }],
    ['an escape that is none', { ':path': '/test.Echo/Unary%' }, { grpc: '13' }],
    ['an invisible character', { ':path': '/test.Echo/Un\u00e4ry' }, { grpc: '13' }],
    ['two hosts', { ':authority': 'a', host: 'b' }, { grpc: '13' }],
    ['a timeout that is over', { 'grpc-timeout': '0m' }, { grpc: '4' }],
    ['a timeout of no unit', { 'grpc-timeout': '1x' }, { grpc: '13' }],
    ['a timeout of 10 KiB', { 'grpc-timeout': '1'.repeat(10_240) }, { grpc: '13' }],
    ['a timeout that no timer takes', { 'grpc-timeout': '99999999H' }, { grpc: '0' }],
    ['a timeout of another kind', { 'x-envoy-expected-rq-timeout-ms': '0' }, { grpc: '4' }],
    ['metadata that is none', { 'x-obs': 'caf\u00e9', 'x~y': 'a' }, { grpc: '0' }],
  ];
  for (const [what, headers, expected] of table) {
    const before = runs.length;
    const stream = peer.request({ ...usual, ...headers });
    stream.end(message('a'));
    const answer = await answered(stream);
    t.match(answer, expected, what);
    t.equal(runs.length - before, answer.grpc === '0' ? 1 : 0, `${what}: handlers`);
    if (answer.grpc !== undefined && answer.grpc !== '0') t.equal(answer.body, '', `${what}: no body`);
  }
  t.same(new Set(runs), new Set(['/test.Echo/Unary']));
});

t.test('H2-020 H2-021: messages beyond the limit are refused before there is memory for them', async (t) => {
  const { port } = await serveEcho(t);
  const limit = 4 * 1_048_576;
  const prefix = (flag: number, length: number): Buffer => {
    const bytes = Buffer.alloc(5, flag);
    bytes.writeUInt32BE(length, 1);
    return bytes;
  };
  const bomb = (compress: (bytes: Buffer) => Buffer): Buffer => {
    const small = compress(Buffer.alloc(limit + 1));
    return Buffer.concat([prefix(1, small.length), small]);
  };
  const table: readonly (readonly [string, Buffer, string | undefined])[] = [
    ['one byte too many, by its prefix', prefix(0, limit + 1), undefined],
    ['4 GiB, by its prefix', prefix(0, 0xffff_ffff), undefined],
    ['compressed, 4 GiB by its prefix', prefix(1, 0xffff_ffff), 'gzip'],
    ['a bomb of 1 to 1000, gzip', bomb(gzipSync), 'gzip'],
    ['a bomb of 1 to 1000, deflate', bomb(deflateSync), 'deflate'],
  ];
  for (const [what, bytes, encoding] of table) {
    t.ok(bytes.length < 8_192, `${what}: costs its sender nothing`);
    const peer = session(t, port);
    const before = process.memoryUsage();
    const stream = peer.request({ ...usual, ...(encoding === undefined ? {} : { 'grpc-encoding': encoding }) });
    stream.write(bytes);
    const { grpc } = await answered(stream);
    t.equal(grpc, '8', what);
    const after = process.memoryUsage();
    const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed;
    t.ok(grown < 3 * limit, `${what}: ${grown} bytes`);
  }
});

t.test('the time that a caller has left is that of the handler, and a caller who goes away is noticed', async (t) => {
  const contexts: RequestContext[] = [];
  const deadlines: number[] = [];
  const cancelled: (() => void)[] = [];
  const { client } = await serveEcho(t, {
    handlers: {
      unary: (call) => {
        contexts.push(requestContext());
        deadlines.push(call.getDeadline() as number);
        call.on('cancelled', () => cancelled.shift()?.());
      },
    },
  });
  const caller = client();
  const late = unary(caller, 'a', new Metadata(), { deadline: new Date(Date.now() + 1_500) });
  t.match(await late, { code: status.DEADLINE_EXCEEDED });
  t.ok((contexts[0]?.remainingMs() ?? 1e9) <= 1_500);
  t.ok((deadlines[0] ?? 0) <= Date.now() + 1_500);

  const ended = new Promise<void>((resolve) => cancelled.push(resolve));
  const call = caller.unary('b', () => {});
  while (contexts.length < 2) await new Promise((resolve) => setImmediate(resolve));
  const { signal } = contexts[1] as RequestContext;
  const aborted = once(signal, 'abort');
  t.equal(contexts[1]?.remainingMs(), Number.POSITIVE_INFINITY, 'no deadline');
  call.cancel();
  await Promise.all([ended, aborted]);
  t.equal((signal.reason as MeshError | undefined)?.code, 'ERR_MESH_CLIENT_GONE');
});

t.test('calls that a handler makes carry on trace, request id and deadline', async (t) => {
  const upstream = createServer((request, response) => response.end(JSON.stringify(request.headers)));
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  t.teardown(() => upstream.close());
  const { port } = upstream.address() as AddressInfo;
  const ports = `ports: [{number: 80, name: http, protocol: HTTP}]`;
  const entry = `{hosts: [up.shop], ${ports}, resolution: STATIC, endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]}`;
  const { client, mesh } = await serveEcho(t, {
    yaml: policy('ServiceEntry', entry, 'networking.istio.io/v1'),
    handlers: {
      chat: (call) => {
        call.on('data', async () => {
          call.write(await (await mesh.fetch('http://up.shop/')).text());
          call.end();
        });
      },
    },
  });
  const metadata = new Metadata();
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  metadata.set('traceparent', traceparent);
  metadata.set('x-request-id', 'id-1');
  const call = client().chat(metadata, { deadline: new Date(Date.now() + 60_000) });
  call.write('a');
  const { messages } = await drained(call);
  const headers = JSON.parse(messages[0] as string) as Record<string, string>;
  t.match(headers['traceparent'], /^00-0af7651916cd43dd8448eb211c80319c-/);
  t.equal(headers['x-request-id'], 'id-1');
  t.ok(Number(headers['x-envoy-expected-rq-timeout-ms']) <= 60_000, 'the deadline is told');
});

t.test('one port serves HTTP and gRPC', async (t) => {
  const { mesh, server } = await serveEcho(t, { yaml: deny('/admin') });
  const app = createServer().on('request', (request, response) => response.end(`http ${request.url}`));
  const handle = app.listeners('request')[0] as Parameters<typeof mesh.listen>[0];
  const listening = await mesh.listen(handle, { host: '127.0.0.1', grpc: server });
  const peer = session(t, listening.port);
  const get = peer.request({ ':path': '/page' });
  t.match(await answered(get), { status: 200, body: 'http /page' });
  t.match(await answered(peer.request({ ':path': '/admin' })), { status: 403, body: 'RBAC: access denied' });
  const call = peer.request(usual);
  call.end(message('a'));
  t.match(await answered(call), { status: 200, grpc: '0', body: '\0\0\0\0\x07unary a' });
  t.equal(await (await fetch(`http://127.0.0.1:${listening.port}/page`)).text(), 'http /page');
  await listening.close();
});

t.test('what filters say goes along with the response of the handler', async (t) => {
  const limit = '{local: [{name: ten, headers: ALWAYS, tokenBucket: {maxTokens: 10, fillInterval: 1h}}]}';
  const { client, port } = await serveEcho(t, { yaml: policy('RateLimit', limit, 'inmesh.dev/v1') });
  const call = client().repeat('a');
  const [head] = (await once(call, 'metadata')) as [Metadata];
  t.same(head.get('ratelimit-remaining'), ['9']);
  t.match(await drained(call), { code: 0 });
  const refused = session(t, port).request({ ...usual, ':path': '/none' });
  refused.end();
  t.match(await answered(refused), { grpc: '12' }, 'also where there is nothing but a head');
});

/** A stream that has begun. */
async function begun(client: Echo): Promise<ReturnType<Echo['chat']>> {
  const call = client.chat();
  call.write('a');
  await once(call, 'data');
  return call;
}

t.test('whoever shuts down lets running streams finish, and takes no new calls', async (t) => {
  const ways: Record<string, (served: Awaited<ReturnType<typeof serveEcho>>) => Promise<unknown>> = {
    'mesh.close': ({ mesh }) => mesh.close(),
    tryShutdown: ({ server }) => new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
    unbind: async ({ server, port }) => server.unbind(`127.0.0.1:${port}`),
    drain: async ({ server, port }) => server.drain(`127.0.0.1:${port}`, 10_000),
  };
  for (const [way, end] of Object.entries(ways)) {
    const served = await serveEcho(t);
    const calls = await Promise.all(Array.from({ length: 20 }, () => begun(served.client())));
    const ended = end(served);
    t.equal((await unary(served.client(), 'new')).code, status.UNAVAILABLE, `${way}: nobody new`);
    const all = calls.map(async (call) => {
      const outcome = drained(call);
      call.write('last');
      call.end();
      return outcome;
    });
    for (const outcome of await Promise.all(all)) t.match(outcome, { code: 0, messages: ['chat last'] }, way);
    await ended;
  }
  const served = await serveEcho(t);
  const call = await begun(served.client());
  const outcome: Promise<Ended> = drained(call);
  served.server.forceShutdown();
  t.match(await outcome, { code: status.UNAVAILABLE }, 'forceShutdown cuts');
  t.throws(() => served.server.bindAsync('127.0.0.1:0', undefined, () => {}), /after shutdown/);
});

t.test('what would have no effect, or would pass by the mesh, is refused in words', async (t) => {
  const { mesh, port, server } = await serveEcho(t);
  const invalid = (pattern: RegExp): { readonly code: string; readonly message: RegExp } => ({
    code: 'ERR_MESH_OPTION_INVALID',
    message: pattern,
  });
  t.throws(() => new MeshServer(undefined as never), invalid(/createMesh/));
  t.throws(() => new MeshServer(mesh, { 'grpc.max_concurrent_streams': 1 }), invalid(/limits\.maxStreams/));
  t.throws(() => new MeshServer(mesh, { 'grpc.keepalive_time_ms': 1 }), invalid(/keepalive_time_ms/));
  t.throws(() => server.createConnectionInjector(), invalid(/pass by the mesh/));
  const { certificateChainPem, privateKeyPem } = authority.issue(ann);
  const pair = { private_key: Buffer.from(privateKeyPem), cert_chain: Buffer.from(certificateChainPem) };
  const secure = ServerCredentials.createSsl(null, [pair]);
  t.throws(() => server.bindAsync('127.0.0.1:0', secure, () => {}), invalid(/mesh speaks TLS/));
  for (const address of ['127.0.0.1', 'unix:/tmp/x', '127.0.0.1:99999', '::1:80x', ':80']) {
    t.throws(() => server.bindAsync(address, undefined, () => {}), invalid(/must be host:port/), address);
  }
  t.throws(() => server.bindAsync('127.0.0.1:0', undefined), /callback/);
  t.throws(() => server.drain('127.0.0.1:0', 0), /port 0/);
  await t.rejects(bound(server, `127.0.0.1:${port}`), { code: 'EADDRINUSE' });
  await t.rejects(
    mesh.listen((_request, response) => void response.end(), { grpc: {} as never }),
    invalid(/serveCall/),
  );
  await t.rejects(
    mesh.listenTcp(() => {}, { grpc: server }),
    invalid(/mesh\.listen/),
  );
  t.throws(() => checkGrpcJs(class {}), invalid(/grpc-js/));
  t.doesNotThrow(() => checkGrpcJs(Server));
  t.throws(() => requestContext(), invalid(/no request/));
  server.start();
});

t.test('a gRPC server that fails to take a call costs that call, and not the process', async (t) => {
  const { log, mesh } = await serveEcho(t);
  const grpc = {
    serveCall(): void {
      throw new Error('broken');
    },
  };
  const listening = await mesh.listen((_request, response) => void response.end(), { host: '127.0.0.1', grpc });
  const stream = session(t, listening.port).request(usual);
  stream.end(message('a'));
  t.match(await answered(stream), { grpc: undefined, reset: 2 });
  t.same(log.messages('error'), ['the gRPC server failed to take a call']);
  await listening.close();
});

t.test('a text of a status that is no Unicode costs that text, and not the process', async (t) => {
  const half = 'no such user \ud800';
  const refuse = (end: (error: object) => void): void => end({ code: status.NOT_FOUND, details: half });
  const { client } = await serveEcho(t, {
    handlers: {
      unary: (_call, reply) => refuse(reply as (error: object) => void),
      repeat: (call) => {
        call.write('one');
        refuse((error) => void call.emit('error', error));
      },
    },
  });
  const told = { code: status.NOT_FOUND, details: 'no such user \ufffd' };
  t.match(await unary(client(), 'x'), told, 'of a response that is nothing else');
  t.match(await drained(client().repeat('x')), { ...told, messages: ['one'] }, 'behind messages');
});

t.test('trailers that HTTP/2 cannot carry cost their call, and not the process', async (t) => {
  const trailers = (name: string): Metadata => {
    const metadata = new Metadata();
    metadata.add(name, 's3cret');
    return metadata;
  };
  const { client, log } = await serveEcho(t, {
    handlers: { unary: (call, reply) => reply(null, call.request, trailers(call.request)) },
  });
  const caller = client();
  for (const name of ['connection', 'http2-settings']) {
    t.match(await unary(caller, name), { code: status.INTERNAL }, name);
  }
  t.match(await unary(caller, 'fine'), { code: status.OK, messages: ['fine'] }, 'over the same connection');
  t.same(log.messages('error'), Array(2).fill('the trailers of a call cannot be sent'));
  t.notMatch(JSON.stringify(log), /s3cret/);
});

t.test('a header of one connection is no metadata: whoever echoes it could not answer', async (t) => {
  const seen: Metadata[] = [];
  const { port } = await serveEcho(t, {
    handlers: {
      unary: async (call, reply) => {
        seen.push(call.metadata);
        call.sendMetadata(call.metadata);
        reply(null, call.request);
      },
    },
  });
  const peer = rawHttp2(port);
  t.teardown(() => peer.destroy());
  const fields = { ':scheme': 'http', ':authority': 'x', ...usual, 'http2-settings': 'AAMAAABk', 'x-own': 'kept' };
  peer.send(frameTypes.headers, endHeaders, 1, literals(Object.entries(fields)));
  peer.send(frameTypes.data, endStream, 1, message('a'));
  await peer.until(() => peer.streams.get(1)?.ended === true, 5_000);
  t.equal(peer.streams.get(1)?.grpc, status.OK);
  t.same(seen[0]?.get('x-own'), ['kept']);
  t.same(seen[0]?.get('http2-settings'), []);
});
