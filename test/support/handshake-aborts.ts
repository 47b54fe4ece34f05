import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type Socket, connect as tcpConnect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import type { Credentials } from '../../src/identity/source.ts';
import { makeAuthority, type TestAuthority } from './certificates.ts';
import { rawExchange, type TestInbound, testInbound } from './inbound.ts';

/** Who serves, and who may call. */
export const authority: TestAuthority = makeAuthority();
export const caller: Credentials = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');
const tls = { ca: authority.rootPem, credentials: caller };
export const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';
const aborts = 1_000;
const atOnce = 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Goes away without a word, as a process that was killed; TLS has no part in it. */
export function reset(socket: Socket): Promise<unknown> {
  socket.on('error', () => {});
  const closed = once(socket, 'close').catch(() => {});
  socket.resetAndDestroy();
  return closed;
}

/** A connection to loopback; its errors say nothing. */
export async function connected(port: number): Promise<Socket> {
  const socket = tcpConnect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function repeat(count: number, action: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done += atOnce) await Promise.all(Array.from({ length: atOnce }, action));
}

interface Footprint {
  readonly handles: number;
  readonly files: number;
  readonly heap: number;
}

/** After the last connection was noticed to be gone. */
async function footprint(inbound: TestInbound): Promise<Footprint> {
  // A whole exchange, and the event loop has seen every reset that came before it.
  for (let i = 0; i < 5; i++) await rawExchange(inbound.port, get, { tls });
  collect();
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  const handles = process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name)).length;
  const files = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
  return { handles, files, heap: process.memoryUsage().heapUsed };
}

/** What may grow for a moment, and not for ever. */
const mostHeap = 2 ** 21;

const isLarger = (after: Footprint, before: Footprint): boolean =>
  after.handles > before.handles || after.files > before.files || after.heap - before.heap >= mostHeap;

/**
 * TLS-033: so many clients go away at each of these steps, and leave neither connections nor files,
 * listeners or memory behind.
 */
export function leavesNothing(steps: Readonly<Record<string, (port: number) => Promise<unknown>>>): void {
  // Thousands of handshakes take a while on a machine that has other things to do.
  t.setTimeout(600_000);
  for (const [step, abort] of Object.entries(steps)) {
    t.test(`TLS-033 ${aborts} clients that go away ${step} leave nothing behind`, async (t) => {
      const inbound = await testInbound((_, response) => void response.end('here'), { authority });
      t.teardown(() => inbound.acceptor.close());
      const warnings: string[] = [];
      const warned = (warning: Error): void => void warnings.push(warning.message);
      process.on('warning', warned);
      t.teardown(() => process.off('warning', warned));
      await repeat(100, () => abort(inbound.port));
      const before = await footprint(inbound);
      await repeat(aborts, () => abort(inbound.port));
      let after = await footprint(inbound);
      // The last ones are still on their way out, now and then; what is leaked stays.
      for (let i = 0; i < 100 && isLarger(after, before); i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        after = await footprint(inbound);
      }
      t.ok(after.handles <= before.handles, `handles: ${before.handles}, then ${after.handles}`);
      t.ok(after.files <= before.files, `files: ${before.files}, then ${after.files}`);
      const grown = after.heap - before.heap;
      t.ok(
        grown < mostHeap,
        `heap: ${Math.round(grown / 1_024)} KiB more, ${Math.round(grown / aborts)} bytes a client`,
      );
      t.same(warnings, [], 'no listener was added again and again');
      const [answer] = await rawExchange(inbound.port, get, { tls });
      t.equal(answer?.body, 'here', 'and it serves on');
    });
  }
}

/** One good request after all that. */
export async function servesOn(inbound: TestInbound): Promise<void> {
  t.equal((await rawExchange(inbound.port, get, { tls }))[0]?.body, 'here');
}
