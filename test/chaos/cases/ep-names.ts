// Endpoints whose names change their minds.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { testClient } from '../../support/client.ts';
import { cluster, endpoint, route, snapshot } from '../../support/snapshot.ts';
import type { ChaosCase } from '../case.ts';
import { type DnsRecords, dnsServer } from '../dns-server.ts';
import type { Lab } from '../lab.ts';
import { load, loopDelays, pause, percentile, within } from '../load.ts';
import { echo, httpServer, type LabServer } from '../servers.ts';

const name = 'shop.example.com';

/** The client side of a mesh that calls `http://shop/` at the addresses of a name. */
async function client(lab: Lab, port: number, records: DnsRecords) {
  const dns = await dnsServer(lab, records);
  const shop = cluster('shop', [], {
    discovery: { kind: 'dns', endpoints: [endpoint(port, { address: name })] },
  });
  const made = testClient(snapshot({ shop: [route(shop.name)] }, [shop]), { ask: dns.ask });
  lab.teardown(() => made.close());
  return { ...made, dns };
}

/** Servers at several addresses of loopback, all on one port. */
async function servers(
  lab: Lab,
  count: number,
  handler: RequestListener = echo,
): Promise<readonly (LabServer & { readonly address: string })[]> {
  const first = await httpServer(lab, handler);
  const made = [{ ...first, address: '127.0.0.1' }];
  for (let i = 2; i <= count; i++) {
    const address = `127.0.0.${i}`;
    made.push({ ...(await httpServer(lab, handler, { host: address, port: first.port })), address });
  }
  return made;
}

export const nameCases: readonly ChaosCase[] = [
  {
    id: 'EP-23',
    fault: 'the addresses of a name change',
    expected: 'the new ones are used within the time to live and a second; calls under way end well',
    async run(lab) {
      const held: ServerResponse[] = [];
      const [old, next] = await servers(lab, 2, (incoming, outgoing) => {
        if (incoming.url === '/slow') held.push(outgoing);
        else echo(incoming, outgoing);
      });
      if (old === undefined || next === undefined) return;
      const mesh = await client(lab, old.port, { addresses: [old.address], ttlSeconds: 1 });
      let over = false;
      const loading = load(mesh, { count: 1e9, pauseMs: 2, enough: () => over });
      await pause(1_500);
      // Under way when the address goes, and long afterwards.
      const slow = load(mesh, { count: 5, concurrency: 5, path: '/slow' });
      await within(60_000, () => held.length === 5);
      mesh.dns.set({ addresses: [next.address], ttlSeconds: 1 });
      const changed = performance.now();
      await within(10_000, () => next.seen.heads > 0);
      lab.time('first call at the new address after', performance.now() - changed, 2_000, 6_000);
      await pause(300);
      lab.equal('connections to the old address, with a call each', old.open(), 5);
      for (const outgoing of held) outgoing.end('at last');
      lab.equal('failures of calls that were under way', (await slow).failures, 0);
      const left = await within(60_000, () => old.open() === 0);
      await pause(300);
      over = true;
      const tally = await loading;
      lab.equal(`lost of ${tally.calls}`, tally.failures, 0);
      lab.check(left, `connections to the old address: ${old.open()}`);
    },
  },
  {
    id: 'EP-24',
    fault: 'the name server fails, is silent, or knows no addresses any more',
    expected: 'the last good addresses stay',
    async run(lab) {
      const [server] = await servers(lab, 1);
      if (server === undefined) return;
      const mesh = await client(lab, server.port, { addresses: [server.address], ttlSeconds: 1 });
      lab.equal('before', (await load(mesh, { count: 10 })).failures, 0);
      for (const trouble of ['SERVFAIL', 'NXDOMAIN', 'silence', { addresses: [], ttlSeconds: 1 }] as const) {
        mesh.dns.set(trouble);
        const asked = mesh.dns.asked();
        await within(20_000, () => mesh.dns.asked() > asked + 1);
        await pause(50);
        const { calls, failures } = await load(mesh, { count: 100 });
        lab.equal(`lost of ${calls} during ${JSON.stringify(trouble)}`, failures, 0);
        // Failures are asked again later and later; a good answer makes it quick again.
        mesh.dns.set({ addresses: [server.address], ttlSeconds: 1 });
        const again = mesh.dns.asked();
        await within(20_000, () => mesh.dns.asked() > again + 1);
      }
    },
  },
  {
    id: 'EP-25',
    fault: 'a name has 10,000 addresses',
    expected: 'no more than 1,000 are used, and the event loop goes on',
    quick: true,
    async run(lab) {
      const addresses = Array.from({ length: 10_000 }, (_, i) => `127.1.${i >> 8}.${i & 255}`);
      const [server] = await servers(lab, 1);
      if (server === undefined) return;
      const shop = cluster('shop', [], {
        discovery: { kind: 'dns', endpoints: [endpoint(server.port, { address: name })] },
      });
      // More than fit into one message of DNS: handed over as the answer of a resolver.
      const made = testClient(snapshot({ shop: [route(shop.name)] }, [shop]), { resolve: async () => addresses });
      lab.teardown(() => made.close());
      const delays = await loopDelays(async () => {
        await load(made, { count: 20, concurrency: 2 });
        await pause(100);
      });
      lab.equal('endpoints', made.clusters.get(shop.name)?.endpoints.length, 1_000);
      lab.time('delay of the event loop, p99', percentile(delays, 0.99), 20, 1_000);
    },
  },
  {
    id: 'EP-26',
    fault: 'IPv6 does not work, IPv4 does',
    expected: 'the name works, without a delay',
    quick: true,
    needs: 'ipv6',
    async run(lab) {
      const server = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      lab.teardown(() => server.close());
      const { port } = server.address() as { port: number };
      const mesh = await client(lab, port, { addresses: ['::1', '127.0.0.1'], ttlSeconds: 60 });
      const tally = await load(mesh, { count: lab.count(500, 200, 20) });
      lab.equal('visible failures', tally.failures, 0);
      lab.time('slowest call', tally.latencies.at(-1) ?? 0, 300, 2_000);
    },
  },
  {
    id: 'EP-27',
    fault: 'the Unix socket of an endpoint disappears',
    expected: 'as if the connection were refused',
    quick: true,
    async run(lab) {
      const path = join(mkdtempSync(join(tmpdir(), 'inmesh-chaos-')), 'shop.sock');
      lab.teardown(() => rmSync(dirname(path), { recursive: true, force: true }));
      const [socket, other] = [await httpServer(lab, undefined, { path }), await httpServer(lab)];
      const endpoints = [other.port, { address: `unix://${path}`, port: 0 }];
      const mesh = await lab.mesh({ endpoints });
      const count = lab.count(2_000, 500, 60);
      lab.equal('failures before', (await load(mesh, { count })).failures, 0);
      lab.check(socket.seen.heads > 0, `calls over the socket: ${socket.seen.heads}`);
      socket.close();
      rmSync(path, { force: true });
      const seen = other.seen.heads;
      lab.equal('visible failures of GET', (await load(mesh, { count })).failures, 0);
      lab.equal('visible failures of POST', (await load(mesh, { count, method: 'POST', body: 'x' })).failures, 0);
      lab.equal('calls at the other endpoint', other.seen.heads - seen, 2 * count);
    },
  },
];
