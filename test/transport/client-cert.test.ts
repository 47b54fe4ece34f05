import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { defaultClientCertDetails, parseForwardedClientCert } from '../../src/lib/forwarded-client-cert.ts';
import { clientCertElement, rememberClientCert } from '../../src/transport/client-cert.ts';
import { makeAuthority, type TestCertificateOptions } from '../support/certificates.ts';

const authority = makeAuthority();
const own = 'spiffe://cluster.local/ns/shop/sa/web';
const caller = 'spiffe://cluster.local/ns/shop/sa/cart';

/** The server's end of a connection from a client with this certificate. */
async function serverSide(t: Test, options: TestCertificateOptions = {}) {
  const credentials = authority.issue(caller, options);
  const server = createServer({ ...meshTlsOptions(authority.issue(own)), requestCert: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { certificateChainPem: cert, privateKeyPem: key } = credentials;
  const port = (server.address() as AddressInfo).port;
  const client = connect({ port, host: '127.0.0.1', cert, key, rejectUnauthorized: false });
  client.on('error', () => {});
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  t.teardown(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const leaf = new X509Certificate(credentials.certificateChainPem);
  return { socket, leaf, hash: createHash('sha256').update(leaf.raw).digest('hex') };
}

const nothing = { subject: false, uri: false, dns: false, cert: false, chain: false };

t.test('as Envoy writes it: By, Hash, Subject, URI, DNS', async (t) => {
  const sans = [{ uri: caller }, { dns: 'cart.shop' }, { dns: '*.cart.example' }];
  const { socket, hash } = await serverSide(t, { sans });
  t.equal(
    clientCertElement(socket, own, defaultClientCertDetails),
    `By=${own};Hash=${hash};Subject="";URI=${caller};DNS=cart.shop;DNS=*.cart.example`,
  );
  t.equal(clientCertElement(socket, own, nothing), `By=${own};Hash=${hash}`, 'these two are always there');
  t.equal(clientCertElement(socket, '', nothing), `Hash=${hash}`, 'a server without a name of its own');
});

t.test('a subject is written as in RFC 2253, in ASCII', async (t) => {
  for (const [name, subject] of [
    ['', ''],
    ['cart', 'CN=cart'],
    ['a"b,c;d+e\\f', 'CN=a\\"b\\,c\\;d\\+e\\\\f'],
    [' a ', 'CN=\\ a\\ '],
    ['a\nURI=b', 'CN=a\\0AURI=b'],
    ['é', 'CN=\\C3\\A9'],
  ] as const) {
    const { socket, hash } = await serverSide(t, { name, sans: [{ uri: caller }] });
    const element = clientCertElement(socket, own, defaultClientCertDetails);
    t.equal(element, `By=${own};Hash=${hash};Subject="${subject}";URI=${caller}`, JSON.stringify(name));
    const [read] = parseForwardedClientCert(element);
    t.match(read, { uris: [caller], subject: subject.replaceAll('\\"', '"') });
  }
});

t.test('names that are no names of hosts cannot pretend to be something else', async (t) => {
  const bad = ['a;URI=spiffe://evil', 'a,URI=spiffe://evil', 'a"b', 'a b', 'a, DNS:evil, b', 'x\ny', 'é'];
  const sans = [{ uri: caller }, ...bad.map((dns) => ({ dns })), { dns: 'good' }];
  const { socket } = await serverSide(t, { sans });
  const element = clientCertElement(socket, own, defaultClientCertDetails);
  t.same(
    parseForwardedClientCert(element).map(({ uris, dns }) => ({ uris, dns })),
    [{ uris: [caller], dns: ['good'] }],
  );
  t.notMatch(element, 'evil');
});

t.test('leaf and chain, each only if asked for', async (t) => {
  const { socket, leaf } = await serverSide(t);
  const element = clientCertElement(socket, own, { ...nothing, cert: true, chain: true });
  t.match(element, /;Cert="-----BEGIN%20CERTIFICATE-----%0A[\w%]+-----END%20CERTIFICATE-----%0A";Chain="/);
  const [read] = parseForwardedClientCert(element);
  t.equal(read?.cert, leaf.toString());
  // nodejs/node#65579: some releases show the leaf alone.
  const sees = socket.getPeerCertificate(true).issuerCertificate !== undefined;
  const above = sees ? new X509Certificate(authority.intermediatePem).toString() : '';
  t.equal(read?.chain, leaf.toString() + above, 'without the root');
});

t.test('of a client without a certificate there is nothing to say', (t) => {
  for (const shown of [{}, null, undefined]) {
    const socket = { getPeerCertificate: () => shown } as unknown as TLSSocket;
    t.equal(clientCertElement(socket, own, defaultClientCertDetails), '');
  }
  t.end();
});

t.test('made once for a connection, and again when something else is asked for', async (t) => {
  const { socket, hash } = await serverSide(t);
  let asked = 0;
  const counting = {
    getPeerCertificate: () => {
      asked++;
      return socket.getPeerCertificate(true);
    },
  };
  const said = rememberClientCert(counting as never, own);
  t.equal(said(nothing), said(nothing));
  t.equal(asked, 1);
  t.match(said(defaultClientCertDetails), `Hash=${hash};Subject="";URI=${caller}`);
  t.equal(asked, 2);
});
