import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { callOf } from '../../src/pipeline/server-call.ts';
import { makeAuthority } from '../support/certificates.ts';
import { parseAnswers, rawExchange, testInbound } from '../support/inbound.ts';

const authority = makeAuthority();
const caller = authority.issue('spiffe://cluster.local/ns/shop/sa/api');

const served = () =>
  testInbound(
    (request, response) => {
      const { destinationAddress, remoteAddress, rawHeaders, sni, sourceAddress } = callOf(request) ?? {};
      const count = rawHeaders?.filter((name) => name.toLowerCase() === 'x-a').length;
      response.end(JSON.stringify({ destinationAddress, remoteAddress, sni, sourceAddress, count }));
    },
    { authority, policy: { numTrustedProxies: 1 } },
  );

const loopback = '127.0.0.1';
const facts = { sourceAddress: loopback, destinationAddress: loopback };
const request = 'GET / HTTP/1.1\r\nHost: web\r\nX-A: 1\r\nx-a: 2\r\nX-Forwarded-For: 10.0.0.9, 10.0.0.1\r\n\r\n';

t.test('what policies can know of a connection over plaintext', async (t) => {
  const { acceptor, port } = await served();
  t.teardown(() => acceptor.close());
  const [answer] = await rawExchange(port, request);
  t.same(JSON.parse(answer?.body ?? ''), { ...facts, remoteAddress: '10.0.0.1', sni: '', count: 2 });
  const [direct] = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: web\r\n\r\n');
  t.same(JSON.parse(direct?.body ?? ''), { ...facts, remoteAddress: loopback, sni: '', count: 0 });
});

t.test('the server name of mutual TLS, over HTTP/1.1 and for each stream of HTTP/2', async (t) => {
  const { acceptor, port } = await served();
  t.teardown(() => acceptor.close());
  const options = {
    ca: authority.rootPem,
    cert: caller.certificateChainPem,
    key: caller.privateKeyPem,
    servername: 'outbound_.80_._.web.shop.svc.cluster.local',
    checkServerIdentity: () => undefined,
  };
  const text = await new Promise<string>((resolve) => {
    const socket = connectTls({ host: loopback, port, ALPNProtocols: ['http/1.1'], ...options });
    let received = '';
    socket.setEncoding('latin1').on('data', (data: string) => {
      received += data;
      if (parseAnswers(received).length > 0) socket.destroy();
    });
    socket.on('close', () => resolve(received));
    socket.write(request);
  });
  const expected = { ...facts, remoteAddress: '10.0.0.1', sni: options.servername, count: 2 };
  t.same(JSON.parse(parseAnswers(text)[0]?.body ?? ''), expected);

  const session = connectHttp2(`https://${loopback}:${port}`, options);
  t.teardown(() => session.destroy());
  const ask = () =>
    new Promise<string>((resolve, reject) => {
      const stream = session.request({ ':path': '/', 'x-a': ['1', '2'], 'x-forwarded-for': '10.0.0.9, 10.0.0.1' });
      let body = '';
      stream.setEncoding('utf8').on('data', (data: string) => {
        body += data;
      });
      stream.on('end', () => resolve(body)).on('error', reject);
      stream.end();
    });
  for (const body of await Promise.all([ask(), ask()])) t.same(JSON.parse(body), expected);
});
