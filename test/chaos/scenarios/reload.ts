// The configuration is loaded again: what was learned about endpoints stays.
import { request } from 'undici';
import { fakeClock } from '../../support/fake-clock.ts';
import type { ChaosCase } from '../case.ts';
import { load, within } from '../load.ts';
import { eager, noRetries, type ServiceSetup } from '../resources.ts';
import { answer, httpServer } from '../servers.ts';

const breaker = {
  apiVersion: 'inmesh.dev/v1',
  kind: 'CircuitBreaker',
  metadata: { name: 'shop', namespace: 'shop' },
  spec: { host: 'shop.shop.svc.cluster.local', volumeThreshold: 5 },
};

export const reload: ChaosCase = {
  id: 'RELOAD',
  fault: 'the configuration is loaded again, changed in other places',
  expected: 'ejections, open breakers and retries under way survive; an endpoint that comes back is still out',
  quick: true,
  async run(lab) {
    const good = await httpServer(lab);
    const bad = await httpServer(lab, answer(500));
    const clock = fakeClock();
    const setup: ServiceSetup = {
      endpoints: [good.port, bad.port],
      retries: noRetries,
      policy: { outlierDetection: { ...eager, baseEjectionTime: '300s' }, loadBalancer: { simple: 'ROUND_ROBIN' } },
    };
    const mesh = await lab.mesh(setup, { clock });
    await load(mesh, { count: 30, concurrency: 1 });
    const out = (): readonly string[] =>
      mesh
        .stats()
        .endpoints.filter(({ healthy }) => !healthy)
        .map(({ address }) => address);
    const ejected = [`127.0.0.1:${bad.port}`];
    lab.equal('ejected before', out(), ejected);
    mesh.reconfigure({ ...setup, timeout: '7s' });
    lab.equal('after a reload with another timeout', out(), ejected);
    lab.equal('failures after it', (await load(mesh, { count: 30 })).failures, 0);
    const more = await httpServer(lab);
    mesh.reconfigure({ ...setup, endpoints: [good.port, bad.port, more.port] });
    lab.equal('after one with one endpoint more', out(), ejected);
    mesh.reconfigure({ ...setup, endpoints: [good.port, more.port] });
    clock.advance(50_000);
    mesh.reconfigure(setup);
    lab.equal('removed, and added again within a minute', out(), ejected);
    lab.equal('failures after it', (await load(mesh, { count: 30 })).failures, 0);

    const broken: ServiceSetup = { endpoints: [bad.port], retries: noRetries, more: [breaker] };
    const guarded = await lab.mesh(broken, { clock });
    await load(guarded, { count: 20, concurrency: 1 });
    lab.equal('breaker before', guarded.stats().breakers[0]?.state, 'open');
    guarded.reconfigure({ ...broken, timeout: '7s' });
    lab.equal('breaker after a reload', guarded.stats().breakers[0]?.state, 'open');
    const refused = await load(guarded, { count: 10 });
    lab.equal('calls after it', refused.outcomes, { '503 ERR_MESH_CIRCUIT_OPEN': 10 });

    const failing = { now: true };
    const recovers = await httpServer(lab, (incoming, outgoing) => answer(failing.now ? 503 : 200)(incoming, outgoing));
    const retried: ServiceSetup = { endpoints: [recovers.port], retries: { attempts: 2, retryOn: '5xx' } };
    const patient = await lab.mesh(retried, { clock });
    const reply = request('http://shop/', { dispatcher: patient.dispatcher });
    await within(20_000, () => recovers.seen.heads === 1);
    await within(1_000, () => clock.pending() > 20);
    failing.now = false;
    patient.reconfigure({ ...retried, timeout: '9s' });
    for (let i = 0; i < 100 && recovers.seen.heads === 1; i++) {
      clock.advance(25);
      await within(20, () => recovers.seen.heads > 1);
    }
    const { body, statusCode } = await reply;
    await body.dump();
    lab.equal('a call that waited for its retry during a reload', statusCode, 200);
  },
};
