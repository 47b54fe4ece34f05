import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseOptions } from './arguments.ts';
import { quantile, runRound, runSteadily } from './measure.ts';
import { RawConnection } from './raw-client.ts';
import { rawServer } from './raw-server.ts';

/** A clock that moves by a tenth of a millisecond each time somebody looks. */
function ticking(): () => number {
  let now = 0;
  return () => {
    now += 0.1;
    return now;
  };
}

async function portOf(t: Test, server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

t.test('a round keeps so many calls under way and counts those of the measured time', async (t) => {
  let running = 0;
  let most = 0;
  let all = 0;
  const call = async (): Promise<void> => {
    all++;
    most = Math.max(most, ++running);
    await nextTurn();
    running--;
  };
  const round = await runRound(call, { concurrency: 7, warmUpMs: 5, durationMs: 20, now: ticking() });
  t.equal(most, 7);
  t.equal(running, 0, 'it waits for the last call');
  t.ok(round.calls > 0 && round.calls < all, `${round.calls} of ${all}`);
  t.ok(round.seconds > 0);
  t.ok(round.p50Micros > 0 && round.p50Micros <= round.p99Micros);
  t.equal(round.errors, 0);
  t.notOk('firstError' in round);
});

t.test('calls that fail are counted, and the first reason is kept', async (t) => {
  let count = 0;
  const call = async (): Promise<void> => {
    await nextTurn();
    throw new Error(`number ${++count}`);
  };
  const round = await runRound(call, { concurrency: 2, warmUpMs: 1, durationMs: 5, now: ticking() });
  t.ok(round.errors > 0);
  t.match(round.firstError, /^Error: number 1\n/);
});

t.test('quantiles are nearest ranks', async (t) => {
  const sorted = Array.from({ length: 100 }, (_, i) => i + 1);
  t.equal(quantile(sorted, 0.5), 50);
  t.equal(quantile(sorted, 0.99), 99);
  t.equal(quantile(sorted, 1), 100);
  t.equal(quantile([4], 0.01), 4);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('the raw server answers each head once, however it is cut', async (t) => {
  const port = await portOf(t, rawServer());
  const socket = connect(port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  const answers = (): number => received.split('HTTP/1.1 200 OK').length - 1;
  const until = async (count: number): Promise<void> => {
    while (answers() < count) await once(socket, 'data');
    await nextTurn();
    t.equal(answers(), count);
  };
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(1);
  socket.write('GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r');
  await until(3);
  socket.write('\n');
  await until(4);
  for (const piece of 'GET / HTTP/1.1\r\n\r\n') {
    socket.write(piece);
    await nextTurn();
  }
  await until(5);
  t.match(received, /content-length: 17\r\n\r\n\{"hello":"world"\}/i);
});

t.test('the raw client waits for the whole response', async (t) => {
  const port = await portOf(
    t,
    createServer((socket) =>
      socket.on('data', async () => {
        for (const piece of ['HTTP/1.1 200 OK\r\nContent-', 'Length: 4\r\n\r\nab', 'cd']) {
          socket.write(piece);
          await nextTurn();
        }
      }),
    ),
  );
  const connection = await RawConnection.open(port, '/');
  for (let i = 0; i < 3; i++) await connection.call();
  connection.close();
  t.pass('three calls on one connection');
});

t.test('the raw client fails what is not a good response', async (t) => {
  const ways: [RegExp, (socket: Socket) => void][] = [
    [
      /unexpected response: HTTP\/1\.1 503 No/,
      (socket) => socket.write('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n'),
    ],
    [/unexpected response: HTTP\/1\.1 200 OK/, (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n')],
    [/closed the connection/, (socket) => socket.end()],
    [/ECONNRESET/, (socket) => socket.resetAndDestroy()],
  ];
  for (const [message, way] of ways) {
    const port = await portOf(
      t,
      createServer((socket) => socket.once('data', () => way(socket))),
    );
    const connection = await RawConnection.open(port, '/');
    await t.rejects(connection.call(), { message });
    connection.close();
  }
});

t.test('arguments', async (t) => {
  t.same(parseOptions([]), {
    rounds: 5,
    durationMs: 1_000,
    warmUpMs: 250,
    concurrencies: [50, 1],
    only: '',
    json: '.cache/bench.json',
  });
  t.match(parseOptions(['--quick', '--json', 'x.json']), { rounds: 5, durationMs: 300, json: 'x.json' });
  const more = ['--rounds', '3', '--duration', '10', '--concurrency', '8', '--concurrency', '2', '--only', 'fetch'];
  t.match(parseOptions(more), { rounds: 3, durationMs: 10, concurrencies: [8, 2], only: 'fetch' });
  t.equal(parseOptions(['--help']), 'help');
  t.throws(() => parseOptions(['--rounds', '0']), { message: '--rounds: must be a whole number from 1, got 0' });
  t.throws(() => parseOptions(['--fast']), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' });
});

t.test('at a steady rate calls begin when they are due, and latencies count from then', async (t) => {
  let now = 0;
  let begun = 0;
  const clock = (): number => {
    now += 0.1;
    return now;
  };
  const call = async (): Promise<void> => {
    begun++;
    // A call that holds up all that come after it.
    if (begun === 5) now += 10;
  };
  const round = await runSteadily(call, 1_000, { concurrency: 1, warmUpMs: 0, durationMs: 40, now: clock });
  t.ok(begun >= 38 && begun <= 42, `${begun} of 40`);
  t.equal(round.calls, begun, 'each is measured');
  t.ok(round.p99Micros >= 9_000, `what came after the slow one waited, too: ${round.p99Micros}`);
  t.ok(round.p50Micros < 5_000);
  t.equal(round.errors, 0);
});

t.test('errors at a steady rate are counted', async (t) => {
  const failing = async (): Promise<void> => {
    throw new Error('no');
  };
  const round = await runSteadily(failing, 1_000, { concurrency: 1, warmUpMs: 0, durationMs: 5, now: ticking() });
  t.ok(round.errors > 0);
  t.match(round.firstError, /no/);
});
