// A calls B, B calls C, and C is down: what retries make of the load.
import type { RequestListener } from 'node:http';
import { request } from 'undici';
import { createMesh } from '../../../src/index.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load } from '../load.ts';
import { answer, httpServer } from '../servers.ts';

/** A try of a service that answers takes no part of its time, on a busy machine either. */
const retries = { attempts: 3, perTryTimeout: '5s', retryOn: '5xx,reset,connect-failure' };
const impatient = { ...retries, perTryTimeout: '0.3s' };

/** A service that asks `http://<next>/` and answers what that answered. */
async function tier(lab: Lab, name: string, next: string, port: number, policy: typeof retries): Promise<number> {
  const caller = await lab.mesh({ name: next, endpoints: [port], retries: policy });
  const mesh = createMesh({
    workload: { name, namespace: 'shop', serviceAccount: name },
    identity: false,
    logger: recordingLogger(),
    drainGraceMs: 100,
  });
  lab.teardown(() => mesh.close());
  const handler: RequestListener = (_, outgoing) => {
    void request(`http://${next}/`, { dispatcher: caller.dispatcher }).then(async ({ body, statusCode }) => {
      await body.dump();
      outgoing.writeHead(statusCode).end();
    });
  };
  return (await mesh.listen(handler, { host: '127.0.0.1' })).port;
}

export const threeTiers: ChaosCase = {
  id: 'TIERS',
  fault: 'three tiers with three retries each, and the bottom one is down',
  expected: 'it gets at most 1.2 times the load, and not 64 times',
  quick: true,
  async run(lab) {
    const concurrency = 100;
    const count = lab.count(20_000, 3_000, 1_000);
    // The share is one of the calls that are under way: they wait for the bottom, and not for a processor.
    const ms = lab.count(100, 100, 40);
    for (const [name, handler, policy] of [
      ['answers 503', (incoming, outgoing) => void setTimeout(() => answer(503)(incoming, outgoing), ms), retries],
      ['never answers', (incoming) => void incoming.resume(), impatient],
      ['breaks connections', (incoming) => void setTimeout(() => incoming.socket.resetAndDestroy(), ms), retries],
    ] as readonly [string, RequestListener, typeof retries][]) {
      const c = await httpServer(lab, handler);
      const b = await tier(lab, 'b', 'c', c.port, policy);
      const a = await lab.mesh({ name: 'b', endpoints: [b], retries: policy });
      const tally = await load(a, { count, concurrency, url: 'http://b' });
      lab.equal(`${name}: calls that failed`, tally.failures, count);
      lab.atMost(`${name}: requests at the bottom for each call`, c.seen.heads / count, 1.2 + 50 / count);
    }
  },
};
