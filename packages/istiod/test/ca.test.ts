// @inmesh/ca speaks istiod's protocol as well: the client against an authority that is not of its own making.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, serveAuthority } from '@inmesh/ca';
import type { Credentials } from 'inmesh/identity';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { istiodSource } from '../src/index.ts';

const cart = 'spiffe://cluster.local/ns/shop/sa/cart';

t.test('gets a certificate from @inmesh/ca with a token, and renews with the certificate', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'istiod-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const authority = createAuthority();
  const server = await serveAuthority(authority, { names: ['istiod.istio-system.svc'] });
  t.teardown(() => server.close());
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, authority.createToken({ spiffeId: cart }).token);

  const clock = fakeClock();
  const waits: number[] = [];
  const updates: Credentials[] = [];
  const problems: string[] = [];
  const stop = new AbortController();
  const running = istiodSource({
    address: `127.0.0.1:${server.port}`,
    serverName: 'istiod.istio-system.svc',
    trustRoot: authority.rootPem,
    tokenFile,
    spiffeId: cart,
    timeoutMs: 12_345,
    env: {},
    clock: {
      ...clock,
      after: (delayMs, action) => {
        if (delayMs !== 12_345) waits.push(delayMs);
        return clock.after(delayMs, action);
      },
    },
  }).run(
    {
      update: (credentials) => void updates.push(credentials),
      reject: (problem) => void problems.push(problem.message),
      lost: (reason) => void problems.push(reason.message),
    },
    stop.signal,
  );
  const sleeps = async (count: number): Promise<void> => {
    while (waits.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  await sleeps(1);
  t.same(problems, []);
  t.equal(updates[0]?.spiffeId, cart);
  t.same(updates[0]?.trustBundles.get('cluster.local'), [authority.rootPem]);
  t.ok(Math.abs((waits[0] ?? 0) - 1_800_000) < 60_000, `half an hour, not the 24 hours that it asked for: ${waits[0]}`);

  rmSync(tokenFile);
  clock.advance(waits[0] ?? 0);
  await sleeps(2);
  t.same(problems, []);
  t.equal(updates.length, 2);
  t.equal(updates[1]?.spiffeId, cart);

  writeFileSync(tokenFile, 'a-token-that-nobody-made');
  clock.advance(waits[1] ?? 0);
  await sleeps(3);
  t.match(problems[0], /refused: UNAUTHENTICATED/);
  t.equal(updates.length, 2);
  stop.abort();
  await running;
});
