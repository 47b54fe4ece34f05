import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type ConnectionOptions, connect as connectTls, createSecureContext } from 'node:tls';
import t from 'tap';
import type { ActiveIdentity } from '../../src/identity/store.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { peerOfSocket } from '../../src/identity/verify-peer.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import { createTlsServer } from '../../src/transport/tls-server.ts';
import { makeAuthority } from '../support/certificates.ts';

const api = 'spiffe://cluster.local/ns/shop/sa/api';
const visitor = 'spiffe://partner.example/ns/shop/sa/web';

t.test('a caller of a federated domain is known by an intermediate that only it has', async (t) => {
  const [mesh, partner, stranger] = [
    makeAuthority(),
    makeAuthority({ trustDomain: 'partner.example' }),
    makeAuthority({ trustDomain: 'partner.example', name: 'another root' }),
  ];
  const bundles = new Map([...mesh.trustBundles, ...partner.trustBundles]);
  const credentials = { ...mesh.issue(api), trustBundles: bundles };
  const identity: ActiveIdentity = {
    credentials,
    id: parseSpiffeId(api),
    generation: 1,
    clientContext: createSecureContext(meshTlsOptions(credentials)),
  };
  const seen: string[] = [];
  const server = createTlsServer(identity, 5_000, {
    onSecure: (socket) => {
      try {
        seen.push(peerOfSocket(socket, bundles, systemClock)?.spiffeId ?? 'nobody');
      } catch (error) {
        seen.push((error as Error).message);
      }
      socket.end();
    },
    onFailure: (error) => seen.push(error.message),
  });
  const listener = createServer((socket) => void server.emit('connection', socket)).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  const { port } = listener.address() as AddressInfo;

  const call = async (id: string, by: typeof partner, options: ConnectionOptions): Promise<string> => {
    const own = { ...by.issue(id), trustBundles: bundles };
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      ...meshTlsOptions(own),
      checkServerIdentity: () => undefined,
      ...options,
    });
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'close');
    return seen.pop() ?? '';
  };
  for (const [what, options] of [
    ['name and protocol', { servername: 'api.shop', ALPNProtocols: ['istio', 'h2'] }],
    ['protocol', { servername: '', ALPNProtocols: ['http/1.1'] }],
    ['name', { servername: 'api.shop' }],
  ] as const) {
    const asked = { ...options, ...('ALPNProtocols' in options ? { ALPNProtocols: [...options.ALPNProtocols] } : {}) };
    t.equal(await call(visitor, partner, asked), visitor, `asks for ${what}`);
    const impostor = await call('spiffe://cluster.local/ns/shop/sa/admin', partner, asked);
    t.match(
      impostor,
      /does not chain to a root of trust domain cluster\.local/,
      `${what}: a domain speaks for itself only`,
    );
    t.match(await call(visitor, stranger, asked), /client certificate/, `${what}: another root`);
  }
});
