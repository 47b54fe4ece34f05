import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { createCsr } from 'inmesh/identity';
import t from 'tap';
import { keyPem, makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { type Authority, createAuthority, serveAuthority } from '../src/index.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';

/** A renewal over one connection; `meanwhile` runs when the connection is there, before the request. */
async function renew(port: number, authority: Authority, asked: object, meanwhile: () => void): Promise<string> {
  const key = makeKey();
  const { certificateChainPem: cert } = authority.signCsr(createCsr(admin, key), admin);
  const socket = connectTls({ host: '127.0.0.1', port, cert, key: keyPem(key), rejectUnauthorized: false, ...asked });
  let answer = '';
  socket.on('error', () => {}).on('data', (chunk) => (answer += chunk));
  await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => {});
  // Over TLS 1.3 the server is done a moment later: what it has sent since shows that it is.
  await new Promise((resolve) => setImmediate(resolve));
  meanwhile();
  const body = JSON.stringify({ csr: createCsr(admin, makeKey()) });
  socket.write(
    `POST /v1/certificates HTTP/1.1\r\nhost: ca\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await once(socket, 'close').catch(() => {});
  return answer.split('\r\n')[0] ?? '';
}

const manners = [{}, { servername: 'ca.test' }, { ALPNProtocols: ['http/1.1'] }];

for (const when of ['before its request', 'during its handshake'] as const) {
  t.test(`whose root was removed ${when} renews nothing`, async (t) => {
    for (const asked of manners) {
      const clock = fakeClock();
      const authority = createAuthority({ clock });
      const { port, close } = await serveAuthority(authority, { clock });
      t.teardown(close);
      t.match(await renew(port, authority, asked, () => {}), ' 200 ', 'while the root is there');
      authority.rotation.prepare();
      const before = authority.signCsr(createCsr(web, makeKey()), web);
      t.ok(before);
      let armed = false;
      const remove = () => {
        authority.rotation.activate();
        authority.rotation.finish({ force: true });
      };
      const proxy = createServer((near) => {
        const far = connectTcp(port, '127.0.0.1');
        if (armed) far.once('data', remove);
        for (const end of [near, far]) end.on('error', () => {});
        near.pipe(far).pipe(near);
      });
      await once(proxy.listen(0, '127.0.0.1'), 'listening');
      t.teardown(() => proxy.close());
      armed = when === 'during its handshake';
      const at = (proxy.address() as AddressInfo).port;
      const line = await renew(at, authority, asked, armed ? () => {} : remove);
      t.notMatch(line, ' 200 ', JSON.stringify(asked));
      t.same(authority.ownBundles.get('cluster.local')?.length, 1);
    }
  });
}
