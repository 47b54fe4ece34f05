// The circuit breaker in Node's sense, over real connections; its time is moved by hand.
import type { RequestListener, ServerResponse } from 'node:http';
import { request } from 'undici';
import { Breaker } from '../../../src/breaker/breaker.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import type { ChaosCase } from '../case.ts';
import type { Lab, LabMesh } from '../lab.ts';
import { load, within } from '../load.ts';
import { noRetries, serviceResources } from '../resources.ts';
import { httpServer, type LabServer } from '../servers.ts';

const resetMs = 30_000;
const breakerOf = (spec: object = {}): object => ({
  apiVersion: 'inmesh.dev/v1',
  kind: 'CircuitBreaker',
  metadata: { name: 'shop', namespace: 'shop' },
  spec: { host: 'shop.shop.svc.cluster.local', volumeThreshold: 5, trialTimeout: '10s', ...spec },
});

/** A server that does what it is told at the moment, and a mesh with a breaker in front of it. */
async function broken(lab: Lab): Promise<{
  readonly server: LabServer;
  readonly mesh: LabMesh;
  readonly clock: FakeClock;
  /** What the server does from now on; `hold` keeps the answers in {@link held}. */
  behave(how: number | 'hold'): void;
  readonly held: ServerResponse[];
  call(): Promise<string>;
  state(): string | undefined;
}> {
  let how: number | 'hold' = 200;
  const held: ServerResponse[] = [];
  const handler: RequestListener = (incoming, outgoing) => {
    incoming.resume();
    if (how === 'hold') held.push(outgoing);
    else outgoing.writeHead(how).end();
  };
  const server = await httpServer(lab, handler);
  const clock = fakeClock();
  const mesh = await lab.mesh({ endpoints: [server.port], retries: noRetries, more: [breakerOf()] }, { clock });
  const call = async (): Promise<string> => {
    const { body, headers, statusCode } = await request('http://shop/', { dispatcher: mesh.dispatcher });
    await body.dump();
    return [statusCode, headers['x-inmesh-error']].filter((part) => part !== undefined).join(' ');
  };
  return {
    server,
    mesh,
    clock,
    held,
    call,
    behave: (next) => void (how = next),
    state: () => mesh.stats().breakers[0]?.state,
  };
}

type Broken = Awaited<ReturnType<typeof broken>>;

/** Lets it fail until it is open. */
async function open({ behave, call, state }: Broken): Promise<void> {
  behave(500);
  for (let i = 0; i < 50 && state() !== 'open'; i++) await call();
}

export const breakerCases: readonly ChaosCase[] = [
  {
    id: 'POL-08',
    fault: '1,000 calls at the moment in which an open breaker lets one try',
    expected: 'exactly one goes; the others fail at once',
    quick: true,
    async run(lab) {
      const all = await broken(lab);
      const { behave, call, clock, held, server, state } = all;
      await open(all);
      lab.equal('before', state(), 'open');
      const rounds = lab.count(1_000, 30, 3);
      const counts: Record<string, number> = {};
      for (let round = 0; round < rounds; round++) {
        behave('hold');
        clock.advance(resetMs);
        const before = server.seen.heads;
        const calls = Array.from({ length: 1_000 }, call);
        await within(20_000, () => held.length > 0);
        // All but the trial are over while it is still under way.
        let settled = 0;
        for (const each of calls) void each.then(() => settled++);
        await within(20_000, () => settled === 999);
        held.pop()?.writeHead(500).end();
        await Promise.all(calls);
        const trials = server.seen.heads - before;
        counts[trials] = (counts[trials] ?? 0) + 1;
      }
      lab.equal('rounds by number of trials', counts, { 1: rounds });
    },
  },
  {
    id: 'POL-09',
    fault: 'a call from before the opening ends well while the trial is under way',
    expected: 'it decides nothing',
    quick: true,
    async run(lab) {
      const all = await broken(lab);
      const { behave, call, clock, held, state } = all;
      behave('hold');
      const slow = call();
      await within(20_000, () => held.length === 1);
      await open(all);
      clock.advance(resetMs);
      behave('hold');
      const trial = call();
      await within(20_000, () => held.length === 2);
      held[0]?.end();
      lab.equal('the slow call', await slow, '200');
      lab.equal('afterwards', state(), 'halfOpen');
      lab.equal('another call', await call(), '503 ERR_MESH_CIRCUIT_OPEN');
      held[1]?.writeHead(500).end();
      await trial;
      lab.equal('after the trial has failed', state(), 'open');
    },
  },
  {
    id: 'POL-10',
    fault: 'the trial is never answered',
    expected: 'it has a time of its own; then the breaker is open, and tries again',
    quick: true,
    async run(lab) {
      const all = await broken(lab);
      const { behave, call, clock, held, mesh, state } = all;
      await open(all);
      behave('hold');
      clock.advance(resetMs);
      const hanging = call().catch(() => 'cut off');
      await within(20_000, () => held.length === 1);
      clock.advance(10_000);
      await within(20_000, () => state() === 'open');
      lab.equal('after the time of the trial', state(), 'open');
      clock.advance(resetMs);
      behave(200);
      lab.equal('the next trial', await call(), '200');
      lab.equal('afterwards', state(), 'closed');
      lab.equal('the call that hangs is not cut off by the breaker', mesh.stats().endpoints[0]?.inFlight, 1);
      held[0]?.end();
      await hanging;
    },
  },
  {
    id: 'POL-11',
    fault: 'one of many calls runs out of time',
    expected: 'its neighbours go on',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab, (incoming, outgoing) => {
        incoming.resume();
        if (incoming.headers['x-call'] !== '1') setTimeout(() => outgoing.end(), 600);
      });
      const mesh = await lab.mesh({
        endpoints: [server.port],
        retries: noRetries,
        timeout: '5s',
        more: [breakerOf()],
      });
      const stop = new AbortController();
      const aborted = request('http://shop/', {
        dispatcher: mesh.dispatcher,
        signal: stop.signal,
        headers: { 'x-call': '1' },
      });
      const neighbours = load(mesh, { count: 50, concurrency: 50, headers: { 'x-call': '2' } });
      await within(20_000, () => server.seen.heads === 51);
      stop.abort();
      lab.equal('the one', await aborted.catch(({ name }: Error) => name), 'AbortError');
      lab.equal('neighbours that failed', (await neighbours).failures, 0);
      lab.equal('breaker', mesh.stats().breakers[0]?.state, 'closed');
    },
  },
  {
    id: 'POL-12',
    fault: 'very many calls in the window, and one that fails',
    expected: 'what the breaker notes costs the same',
    async run(lab) {
      const costs: number[] = [];
      for (const filled of [1_000, 1_000_000]) {
        const breaker = new Breaker(
          {
            errorThresholdPercentage: 99,
            rollingWindowMs: 60_000,
            volumeThreshold: 1e9,
            resetTimeoutMs: resetMs,
            trialTimeoutMs: 10_000,
            failures: { errors: true, timeouts: true },
          },
          { clock: systemClock, changed: () => {} },
        );
        lab.teardown(() => breaker.close());
        for (let i = 0; i < filled; i++) breaker.settle(breaker.admit(), 'success');
        const count = 200_000;
        // Time of the processor: what others do on this machine costs them, and not the breaker.
        const from = process.cpuUsage();
        for (let i = 0; i < count; i++) breaker.settle(breaker.admit(), i % 2 === 0 ? 'failure' : 'success');
        const { system, user } = process.cpuUsage(from);
        costs.push((user + system) / count);
      }
      const [few = 0, many = 0] = costs;
      lab.goal('for each call, with 1,000 calls in the window', few, 2, 8, 'µs');
      lab.goal('for each call, with 1,000,000', many, 2, 8, 'µs');
      lab.atMost('more calls cost more by a factor of', many / few, 3);
    },
  },
  {
    id: 'POL-13',
    fault: 'breakers come and go with the configuration',
    expected: 'no timer is left',
    quick: true,
    async run(lab) {
      const names = Array.from({ length: 50 }, (_, i) => `shop${i}`);
      const server = await httpServer(lab, (_, outgoing) => outgoing.writeHead(500).end());
      const services = names.flatMap((name) =>
        serviceResources({ name, endpoints: [server.port], retries: noRetries }),
      );
      const breakers = names.map((name) => ({
        ...breakerOf({ host: `${name}.shop.svc.cluster.local` }),
        metadata: { name, namespace: 'shop' },
      }));
      const clock = fakeClock();
      const mesh = await lab.mesh(services, { clock });
      await load(mesh, { count: 1, url: 'http://shop0' });
      const before = clock.pending();
      const rounds = lab.count(200, 20, 3);
      let opened = 0;
      for (let round = 0; round < rounds; round++) {
        mesh.reconfigure([...services, ...breakers]);
        for (const name of names) await load(mesh, { count: 6, concurrency: 6, url: `http://${name}` });
        opened += mesh.stats().breakers.filter(({ state }) => state === 'open').length;
        mesh.reconfigure(services);
      }
      lab.check(opened >= rounds * 40, `breakers that were open when they went: ${opened}`);
      lab.equal('breakers left', mesh.stats().breakers.length, 0);
      lab.equal('timers more than before', clock.pending() - before, 0);
    },
  },
];
