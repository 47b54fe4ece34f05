import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { Mesh } from '../../src/index.ts';
import { testMesh } from '../support/mesh-pair.ts';
import { upstream } from '../support/upstream.ts';

const permissive = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`;

/** Five servers behind `carts` that answer with their port, balanced as the text says. */
async function carts(t: Test, loadBalancer: string, protocol = 'HTTP') {
  const servers = await Promise.all(
    Array.from({ length: 5 }, () => upstream(t, (_, outgoing) => outgoing.end(String(outgoing.socket?.localPort)))),
  );
  const { join, write } = testMesh(t, permissive);
  write(
    'carts.yaml',
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: carts, namespace: shop}
spec:
  hosts: [carts.shop.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: port, protocol: ${protocol}}]
  endpoints:
${servers.map(({ port }) => `  - {address: 127.0.0.1, ports: {port: ${port}}}`).join('\n')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: carts, namespace: shop}
spec:
  host: carts
  trafficPolicy: {loadBalancer: ${loadBalancer}}
`,
  );
  return { join };
}

/** A service in front that asks `carts` for each request; returns what came back for a request from an address. */
async function front(mesh: Mesh) {
  const { port } = await mesh.listen(
    async (_, response) => {
      const reply = await mesh.fetch('http://carts/');
      response.end(await reply.text());
    },
    { host: '0.0.0.0' },
  );
  return async (localAddress: string, headers: Record<string, string> = {}): Promise<string> => {
    const [response] = (await once(get({ port, localAddress, headers, agent: false }), 'response')) as [
      IncomingMessage,
    ];
    return text(response);
  };
}

async function distinct(count: number, ask: () => Promise<string>): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) seen.add(await ask());
  return seen;
}

t.test('a header that requests hand on keeps a user at one endpoint, behind a service in between', async (t) => {
  const { join } = await carts(t, '{consistentHash: {httpHeaderName: x-user}}');
  const mesh = await join('front', { propagateHeaders: ['x-user'] });
  const ask = await front(mesh);
  const used = new Set<string>();
  for (let i = 0; i < 8; i++) {
    const seen = await distinct(3, () => ask('127.0.0.1', { 'x-user': `user ${i}` }));
    t.equal(seen.size, 1);
    for (const each of seen) used.add(each);
  }
  t.ok(used.size > 1);
});

t.test('the address of the caller keeps it at one endpoint', async (t) => {
  const { join } = await carts(t, '{consistentHash: {useSourceIp: true, maglev: {tableSize: 10007}}}');
  const ask = await front(await join('front'));
  const used = new Set<string>();
  for (let i = 1; i <= 8; i++) {
    const seen = await distinct(3, () => ask(`127.0.0.${i}`));
    t.equal(seen.size, 1);
    for (const each of seen) used.add(each);
  }
  t.ok(used.size > 1);
});

t.test('connections know no header, but where they come from', async (t) => {
  const connected = async (loadBalancer: string): Promise<number> => {
    const { join } = await carts(t, loadBalancer, 'TCP');
    const mesh = await join('web');
    const ask = async (): Promise<string> => {
      const socket = await mesh.connect({ host: 'carts', port: 80 });
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      const answer = await text(socket);
      return answer.slice(answer.indexOf('\r\n\r\n'));
    };
    return (await distinct(30, ask)).size;
  };
  t.equal(await connected('{consistentHash: {useSourceIp: true}}'), 1);
  t.ok((await connected('{consistentHash: {httpHeaderName: x-user}}')) > 1);
});
