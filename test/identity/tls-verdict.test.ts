import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import type { Credentials } from '../../src/identity/source.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createMesh } from '../../src/mesh.ts';
import { makeAuthority } from '../support/certificates.ts';
import { testInbound } from '../support/inbound.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';

/** What a caller with these credentials is answered. */
async function ask(port: number, own: Credentials, asked: object): Promise<string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ...meshTlsOptions(own),
    checkServerIdentity: () => undefined,
    ...asked,
  });
  let answer = '';
  socket.on('error', () => {}).on('data', (chunk) => (answer += chunk));
  socket.write('GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n');
  await once(socket, 'close').catch(() => {});
  return answer;
}

const manners = [{}, { servername: 'web.shop' }, { ALPNProtocols: ['http/1.1'] }];

t.test('an authority that a server of the application trusts for itself names nobody of the mesh', async (t) => {
  const authority = makeAuthority();
  const own = authority.issue(web);
  const mesh = createMesh({
    workload: { name: 'web', namespace: 'shop', serviceAccount: 'web' },
    identity: { name: 'test', run: async (sink) => sink.update(own) },
    logger: silentLogger,
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  for (const intermediate of [true, false]) {
    const corporate = makeAuthority({ name: 'corporate root', intermediate });
    const server = createHttpsServer(
      { ...meshTlsOptions(own), ca: [authority.rootPem, corporate.rootPem], requestCert: true },
      (request, response) => {
        mesh.handle(request, response, () => response.end(`called by ${mesh.scopeOf(request)?.peer?.spiffeId}`));
      },
    );
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    for (const asked of manners) {
      const what = `${JSON.stringify(asked)}, ${intermediate ? 'an' : 'no'} intermediate`;
      t.match(await ask(port, authority.issue(admin), asked), `called by ${admin}`, what);
      const forged = { ...corporate.issue(admin), trustBundles: authority.trustBundles };
      t.match(await ask(port, forged, asked), 'called by undefined', what);
    }
    server.close();
  }
});

t.test('a handshake that began under other roots is held against those of now', async (t) => {
  // SVID-053
  const authority = makeAuthority();
  for (const intermediate of [true, false]) {
    const partner = makeAuthority({ trustDomain: 'partner.example', intermediate });
    for (const asked of manners) {
      const inbound = await testInbound((_, response) => response.end('served'), {
        authority,
        federated: partner,
        policy: { mtls: { mode: 'STRICT', ports: new Map() } },
      });
      t.teardown(() => inbound.acceptor.close());
      let removes = true;
      // The server has answered, so its context is chosen; it does not know yet who the client is.
      const proxy = createServer((near) => {
        const far = connectTcp(inbound.port, '127.0.0.1');
        if (removes) far.once('data', () => inbound.rotate(authority.issue(web)));
        for (const end of [near, far]) end.on('error', () => {});
        near.pipe(far).pipe(near);
      });
      await once(proxy.listen(0, '127.0.0.1'), 'listening');
      const { port } = proxy.address() as AddressInfo;
      const what = `${JSON.stringify(asked)}, ${intermediate ? 'an' : 'no'} intermediate`;
      const forged = { ...partner.issue(admin), trustBundles: authority.trustBundles };
      t.notMatch(await ask(port, forged, asked), 'served', what);
      removes = false;
      t.match(await ask(port, authority.issue(admin), asked), 'served', `${what}: those who may are`);
      proxy.close();
    }
  }
});
