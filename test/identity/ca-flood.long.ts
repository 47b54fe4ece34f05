import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import t from 'tap';
import { createAuthority, serveAuthority } from '../../packages/ca/src/index.ts';
import { createCsr } from '../../src/identity/csr.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { makeKey } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';

t.setTimeout(300_000);

const id = 'spiffe://cluster.local/ns/shop/sa/web';

// A second caller on one machine: only Linux has all of 127.0.0.0/8 without being told.
const skip = process.platform === 'linux' ? false : 'this system has one loopback address';

t.test(
  'CA-015: a flood of 10,000 requests gets what one caller may have; another is served meanwhile',
  { skip },
  async (t) => {
    const clock = fakeClock();
    const authority = createAuthority({ clock });
    const { port, close } = await serveAuthority(authority, { clock, requestsPerSecond: 20, burst: 100 });
    const { token } = authority.createToken({ spiffeId: id, uses: 1_000 });
    const body = JSON.stringify({ csr: createCsr(id, makeKey()), token });
    const ca = authority.rootPem;
    const ask = async (agent: Agent, localAddress: string): Promise<number> => {
      const headers = { 'content-length': Buffer.byteLength(body) };
      const outgoing = request({
        host: '127.0.0.1',
        port,
        path: '/v1/certificates',
        method: 'POST',
        ca,
        agent,
        localAddress,
        headers,
      });
      outgoing.end(body);
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      answer.resume();
      await once(answer, 'end');
      return answer.statusCode ?? 0;
    };
    const flood = new Agent({ keepAlive: true, maxSockets: 20 });
    const quiet = new Agent({ keepAlive: false });
    const answers: Record<number, number> = {};
    const others: number[] = [];
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (begun < 10_000) {
        const number = ++begun;
        // Another address of this machine, now and then.
        if (number % 1_000 === 500) others.push(await ask(quiet, '127.0.0.2'));
        const status = await ask(flood, '127.0.0.1');
        answers[status] = (answers[status] ?? 0) + 1;
      }
    };
    const started = systemClock.now();
    await Promise.all(Array.from({ length: 20 }, worker));
    t.same(answers, { 200: 100, 429: 9_900 }, 'the burst, and nothing more: its clock stands still');
    t.same(others, new Array(10).fill(200));
    t.equal(authority.status().issued.total, 100 + 10 + 1, 'and one for its own server');
    t.comment(`${(10_000 / ((systemClock.now() - started) / 1_000)).toFixed(0)} requests a second`);
    flood.destroy();
    await close();
  },
);
