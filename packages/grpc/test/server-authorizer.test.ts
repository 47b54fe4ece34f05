import { once } from 'node:events';
import { credentials, type Metadata, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import t from 'tap';
import { permissive, testMesh } from '../../../test/support/mesh-pair.ts';
import { MeshServer } from '../src/index.ts';
import { EchoClient, echoDefinition, echoHandlers } from './support/echo-service.ts';
import { bound, drained, type Echo, unary } from './support/served.ts';

const asking = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: authz
      envoyExtAuthzHttp:
        service: authz.shop.svc.cluster.local
        port: 80
        timeout: 10s
        includeRequestBodyInCheck: {maxRequestBytes: 65536, allowPartialMessage: true}
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnAllow: [x-checked]
        headersToDownstreamOnDeny: [content-type]
---${permissive}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  action: CUSTOM
  provider: {name: authz}
  rules: [{to: [{operation: {notPaths: [/test.Echo/Chat]}}]}]
`;

const labelled = (name: string) => ({
  workload: { name, namespace: 'shop', serviceAccount: name, labels: { app: name } },
});

t.test('an external authorizer is shown the messages of a call, and the handler gets all of them', async (t) => {
  const shop = testMesh(t, asking);
  const authz = await shop.join('authz', labelled('authz'));
  const web = await shop.join('web', labelled('web'));
  const asked: { path: string; bytes: number }[] = [];
  await shop.serve(authz, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
    request.on('end', () => {
      asked.push({ path: request.url ?? '', bytes: body.length });
      response.statusCode = body.includes('"no"') ? 401 : 200;
      response.setHeader('x-user', 'ann').setHeader('x-checked', 'yes').setHeader('content-type', 'application/json');
      response.end('{"why":"no"}');
    });
  });
  const server = new MeshServer(web as never);
  server.addService(echoDefinition, {
    ...echoHandlers,
    unary: (call: { request: string; metadata: Metadata }, reply: (error: null, answer: string) => void) =>
      reply(null, `${call.request.length} ${call.metadata.get('x-user').join()}`),
  } as unknown as UntypedServiceImplementation);
  t.teardown(() => server.forceShutdown());
  const client = new EchoClient(`127.0.0.1:${await bound(server)}`, credentials.createInsecure()) as unknown as Echo;
  t.teardown(() => client.close());

  t.match(await unary(client, 'x'.repeat(40_000)), { code: 0, messages: ['40000 ann'] });
  t.same(asked.at(-1), { path: '/test.Echo/Unary', bytes: 40_005 });
  t.match(await unary(client, 'x'.repeat(1_000_000)), { code: 0, messages: ['1000000 ann'] }, 'a part is enough');
  const allowed = client.repeat('r');
  const [head] = (await once(allowed, 'metadata')) as [Metadata];
  t.same(head.get('x-checked'), ['yes'], 'what it says to the caller is in the head of the response');
  t.match(await drained(allowed), { code: 0, messages: ['r 1', 'r 2', 'r 3'] });
  const many = new Promise<string>((resolve) => {
    const call = client.collect((_error: unknown, answer: string) => resolve(answer));
    for (let i = 0; i < 40; i++) call.write(String(i));
    call.end();
  });
  t.equal((await many).split(' ').length, 40, 'messages that came while it was asked, and those after');

  const messagesOf = () => {
    const { requests } = web.stats();
    return requests.reduce((sum, { requestMessages }) => sum + requestMessages, 0);
  };
  t.equal(messagesOf(), 43, 'each message counts once, whoever was shown it');
  const denied = await unary(client, '"no"');
  t.equal(messagesOf(), 43);
  t.match(denied, { code: status.UNAUTHENTICATED, metadata: { 'content-type': 'application/grpc' } });
  t.notMatch(JSON.stringify(denied), /why/, 'its words are for clients of HTTP');
  const before = asked.length;
  const chat = client.chat();
  chat.end('free');
  t.match(await drained(chat), { code: 0 }, 'what it is not asked about');
  t.equal(asked.length, before);
});
