import t from 'tap';
import { request } from 'undici';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { http2Upstream } from '../support/http2-upstream.ts';
import { record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns, until, upstream } from '../support/upstream.ts';

const again = { attempts: 1, retryOn: ['5xx'], retriableStatusCodes: [], backoffBaseMs: 0 } as const;

t.test('a try without an answer for so long is given up, and may be tried again', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, (_incoming, outgoing) => {
    if (server.seen.length > 1) outgoing.end('second');
  });
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name, { perTryIdleMs: 500, retry: again })] }, [a]), { clock });
  const call = record(client.dispatcher, {});
  await server.arrived(1);
  clock.advance(499);
  await turns(5);
  t.equal(server.seen.length, 1);
  clock.advance(1);
  await until(() => {
    clock.advance(1);
    return server.seen.length === 2;
  });
  t.equal(await call.done, 'end');
});

t.test(
  'a response that drips is cut when nothing came for so long, and never ends as if it were whole (EP-09)',
  async (t) => {
    for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
      const clock = fakeClock();
      let drip = (_text: string): void => {};
      const { port } =
        version === 'HTTP/1.1'
          ? await upstream(t, (_incoming, outgoing) => {
              outgoing.flushHeaders();
              drip = (text) => void outgoing.write(text);
            })
          : await http2Upstream(t, (stream) => {
              stream.respond({ ':status': 200 });
              drip = (text) => void stream.write(text);
            });
      const a = cluster('a', [endpoint(port)], version === 'HTTP/2' ? { http2: 'always' } : {});
      const client = testClient(snapshot({ a: [route(a.name, { perTryIdleMs: 1_000, timeoutMs: 3_500 })] }, [a]), {
        clock,
        onFailure: 'throw',
      });
      const slow = await request('http://a/', { dispatcher: client.dispatcher });
      let got = '';
      const over = slow.body.on('data', (chunk) => void (got += String(chunk)));
      const failed = new Promise<Error>((resolve) => over.on('error', resolve));
      for (let i = 1; i <= 3; i++) {
        clock.advance(999);
        drip('x');
        await until(() => got.length === i);
      }
      // The total time wins over a drip that never pauses for long.
      clock.advance(503);
      t.match(await failed, { code: 'ERR_MESH_TIMEOUT' }, version);
      await client.dispatcher.close();

      const stopped = testClient(snapshot({ a: [route(a.name, { perTryIdleMs: 1_000 })] }, [a]), {
        clock,
        onFailure: 'throw',
      });
      const half = await request('http://a/', { dispatcher: stopped.dispatcher });
      let text = '';
      half.body.on('data', (chunk) => void (text += String(chunk)));
      const cut = new Promise<Error>((resolve) => half.body.on('error', resolve));
      drip('half');
      await until(() => text === 'half');
      clock.advance(999);
      await turns(5);
      clock.advance(1);
      t.match(await cut, { code: 'ERR_MESH_TRY_TIMEOUT' }, version);
    }
  },
);

t.test('a pause that the application makes does not count', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end(Buffer.alloc(3_000_000)));
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name, { perTryIdleMs: 1_000 })] }, [a]), {
    clock,
    onFailure: 'throw',
  });
  const { body } = await request('http://a/', { dispatcher: client.dispatcher });
  await turns(50);
  for (let i = 0; i < 5; i++) {
    clock.advance(1_000);
    await turns(5);
  }
  t.equal((await body.arrayBuffer()).byteLength, 3_000_000);
});

t.test('a time that was over while the process stood still is not held against the endpoint', async (t) => {
  const outlier = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  for (const [lateMs, ejected] of [
    [101, false],
    [1, true],
  ] as const) {
    const clock = fakeClock();
    const server = await upstream(t, () => {});
    const a = cluster('a', [endpoint(server.port)], { outlier });
    const once = { ...again, attempts: 0, perTryTimeoutMs: 1_000 };
    const client = testClient(snapshot({ a: [route(a.name, { retry: once })] }, [a]), { clock, onFailure: 'throw' });
    const call = record(client.dispatcher, {});
    await server.arrived(1);
    // The timer is due at 1,000; what it does comes one turn of the event loop later.
    clock.advance(1_000 + lateMs);
    t.equal(await call.done, 'error ERR_MESH_TRY_TIMEOUT');
    const state = client.clusters.get(a.name);
    t.equal(state?.endpoints[0]?.available, !ejected, `${lateMs} ms late`);
  }
});
