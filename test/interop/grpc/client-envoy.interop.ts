// grpc-js calls through the mesh; an Envoy that is set up as the inbound side of a sidecar stands before the server.
import {
  credentials,
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import t from 'tap';
import { meshCredentials } from '../../../packages/grpc/src/index.ts';
import { clientOf, echoServer, failure, type Message, textsOf } from '../../../packages/grpc/test/support/echo.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from '../envoy/binary.ts';
import { fixedSecrets } from '../envoy/bootstrap.ts';
import { type InboundPort, inboundSidecar } from '../envoy/inbound-sidecar.ts';
import { meshProcess, type PeerService, peerService } from '../envoy/mesh-process.ts';
import { startEnvoy } from '../envoy/run.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');

t.test(
  ...withEnvoy('calls of every kind arrive behind a sidecar, whatever its port is called', async (t, program) => {
    const app = await echoServer(t, {
      unary(call: ServerUnaryCall<Message, Message>, answer: sendUnaryData<Message>) {
        const { text } = call.request;
        if (text === 'fail') answer({ code: status.FAILED_PRECONDITION, details: 'nö, 100%' });
        else answer(null, { text: JSON.stringify(call.metadata.getMap()) });
      },
      scatter(call: ServerWritableStream<Message, Message>) {
        for (const text of call.request.text.split(' ')) call.write({ text });
        call.end();
      },
      chat(call: ServerDuplexStream<Message, Message>) {
        call.on('data', (message: Message) => call.write(message));
        call.on('end', () => call.end());
      },
    });
    const ports = (['STRICT', 'PERMISSIVE', 'DISABLE'] as const).flatMap((mode): InboundPort[] => [
      { name: `${mode} HTTP`, mode, protocol: 'HTTP', app, appHttp: 2 },
      { name: `${mode} undeclared`, mode, protocol: 'undeclared', app, appHttp: 2 },
    ]);
    const envoy = await startEnvoy(t, program, (folder) =>
      inboundSidecar({ ports, secrets: fixedSecrets(reviews) }, folder),
    );
    const cases = ports.flatMap(({ name, mode }) =>
      (['HTTP', 'HTTP2'] as const).map((protocol) => ({ name, mode, protocol })),
    );
    const services = cases.map(
      ({ mode, name, protocol }, i): PeerService => ({
        name: `reviews-${i}`,
        port: envoy.port(name),
        protocol,
        serviceAccount: 'reviews',
        ...(mode === 'DISABLE' ? { tls: '{mode: DISABLE}' } : {}),
      }),
    );
    const mesh = await meshProcess(t, 'web', services.map(peerService).join(''), web);
    const token = credentials.createFromMetadataGenerator((_options, done) => {
      const metadata = new Metadata();
      metadata.set('authorization', 'Bearer t');
      done(null, metadata);
    });
    for (const [i, { mode, name, protocol }] of cases.entries()) {
      const what = `${name}, called ${protocol}`;
      const client = clientOf(t, mesh, `reviews-${i}.shop.svc.cluster.local:80`);
      const options = { deadline: Date.now() + 60_000 };
      const seen = JSON.parse(await client.unary('x', undefined, options)) as Record<string, string>;
      t.match(
        seen,
        {
          'x-seen-protocol': 'HTTP/2',
          'x-seen-chain': mode === 'DISABLE' ? 'HTTP raw_buffer' : 'HTTP mTLS',
          ...(mode === 'DISABLE' ? {} : { 'x-seen-peer-san': web.spiffeId }),
        },
        what,
      );
      t.match(
        await failure(client.unary('fail', undefined, options)),
        { code: status.FAILED_PRECONDITION, details: 'nö, 100%' },
        what,
      );
      t.same(await textsOf(client.scatter('a b c', undefined, options)), ['a', 'b', 'c'], what);
      const chat = client.chat(undefined, options);
      for (let n = 0; n < 100; n++) chat.write({ text: String(n) });
      chat.end();
      t.equal((await textsOf(chat)).length, 100, what);
      const secured = clientOf(
        t,
        mesh,
        `reviews-${i}.shop.svc.cluster.local:80`,
        {},
        credentials.combineChannelCredentials(meshCredentials(), token),
      );
      if (mode === 'DISABLE') t.match(await failure(secured.unary('x')), { code: status.UNAUTHENTICATED }, what);
      else t.match(JSON.parse(await secured.unary('x')), { authorization: 'Bearer t' }, what);
    }
  }),
);
