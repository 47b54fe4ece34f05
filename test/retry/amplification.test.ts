import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { request } from 'undici';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { modelMesh } from '../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

const retry: RetryPolicy = { ...defaultRetryPolicy, attempts: 3, retryOn: ['5xx'], backoffBaseMs: 5 };

/** A mesh whose calls of `http://next/` go to a port. */
function callerOf(t: Test, port: number, options: Partial<MeshOptions>): Promise<Mesh> {
  const next = cluster('next', [endpoint(port)]);
  return modelMesh(t, snapshot({ next: [route(next.name, { retry })] }, [next]), options);
}

async function ask(mesh: Mesh): Promise<{ readonly status: number; readonly headers: Record<string, unknown> }> {
  const { body, headers, statusCode } = await request('http://next/', { dispatcher: mesh.dispatcher });
  await body.dump();
  return { status: statusCode, headers };
}

/** A service that answers what the next one answers. */
async function tier(t: Test, mesh: Mesh, answer: () => Promise<number>): Promise<number> {
  const server = createServer((incoming, outgoing) => {
    mesh.handle(incoming, outgoing, () => {
      void answer().then((status) => outgoing.writeHead(status).end());
    });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A → B → C with three retries each, and C down. */
async function threeTiers(t: Test, options: Partial<MeshOptions> = {}) {
  const c = await upstream(t, (_incoming, outgoing) => {
    // Long enough for all callers to wait at the same time: of these a fifth may be repeated.
    setTimeout(() => outgoing.writeHead(503).end(), 50);
  });
  const b = await callerOf(t, c.port, options);
  const a = await callerOf(t, await tier(t, b, async () => (await ask(b)).status), options);
  return { a, b, c };
}

t.test('three tiers, the bottom one down: it sees at most 1.2 times the load (ABUSE-001, POL-05)', async (t) => {
  const { a, c } = await threeTiers(t);
  const calls = 3_000;
  let left = calls;
  const statuses = new Set<number>();
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      while (left-- > 0) statuses.add((await ask(a)).status);
    }),
  );
  t.same([...statuses], [503]);
  const seen = c.seen.length;
  t.ok(seen > calls, 'retries there are');
  t.ok(seen <= calls * 1.2 + 3, `${seen} requests for ${calls} calls`);
});

t.test('one call at a time: the hop next to the failure retries, and no other', async (t) => {
  const { a, c } = await threeTiers(t);
  t.equal((await ask(a)).status, 503);
  t.equal(c.seen.length, 4);
});

t.test('as sidecars do it: every hop retries what the next one has retried', async (t) => {
  const { a, c } = await threeTiers(t, { nestedRetries: 'allow', retryBudget: 'off' });
  t.equal((await ask(a)).status, 503);
  t.equal(c.seen.length, 16);
});

t.test('the mark is there for callers that count their tries, and nobody else', async (t) => {
  const c = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const b = await callerOf(t, c.port, {});
  const port = await tier(t, b, async () => (await ask(b)).status);
  for (const [headers, wanted] of [
    [{ 'x-envoy-attempt-count': '1' }, '1'],
    [{}, undefined],
  ] as const) {
    const answer = await request(`http://127.0.0.1:${port}/`, { headers });
    await answer.body.dump();
    t.equal(answer.headers['x-inmesh-retries-spent'], wanted);
  }
});

t.test('what was not retried is not marked, so that the hop above may try', async (t) => {
  const c = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(404).end());
  const b = await callerOf(t, c.port, {});
  const a = await callerOf(t, await tier(t, b, async () => ((await ask(b)).status === 404 ? 503 : 500)), {});
  t.equal((await ask(a)).status, 503);
  t.equal(c.seen.length, 4, 'four tries of A, and each is one of B');
});

t.test('a mark is handed on when it arrives', async (t) => {
  const marked = { 'x-inmesh-retries-spent': '1' };
  const c = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503, marked).end());
  const b = await callerOf(t, c.port, {});
  const a = await callerOf(t, await tier(t, b, async () => (await ask(b)).status), {});
  const { headers } = await ask(a);
  t.equal(c.seen.length, 1);
  t.equal(headers['x-inmesh-retries-spent'], '1');
});

t.test('a mark on a good answer means nothing', async (t) => {
  let count = 0;
  const c = await upstream(t, (_incoming, outgoing) => {
    count++;
    outgoing.writeHead(count > 4 ? 200 : 503).end();
  });
  const b = await callerOf(t, c.port, {});
  const port = await tier(t, b, async () => {
    await ask(b);
    return (await ask(b)).status;
  });
  const a = await callerOf(t, port, {});
  const answer = await ask(a);
  t.equal(answer.status, 200);
  t.equal(answer.headers['x-inmesh-retries-spent'], '1');
});
