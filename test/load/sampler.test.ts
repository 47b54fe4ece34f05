import t from 'tap';
import { createLoadSampler, type LoadSampler, sampleMs } from '../../src/load/sampler.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

/** A process whose event loop is at work for as much of the time as `busy` says. */
function sampler(): { clock: FakeClock; sampler: LoadSampler; pass(ms: number, busy: number): void } {
  const clock = fakeClock();
  let active = 0;
  let idle = 0;
  return {
    clock,
    sampler: createLoadSampler(clock, () => ({ active, idle })),
    pass(ms, busy) {
      for (let left = ms; left > 0; left -= 100) {
        active += 100 * busy;
        idle += 100 * (1 - busy);
        clock.advance(100);
      }
    },
  };
}

t.test('nothing runs until somebody asks, and the first report is there a second later', async (t) => {
  const { clock, sampler: load, pass } = sampler();
  pass(5_000, 0.5);
  t.equal(clock.pending(), 0);
  t.equal(load.running, false);
  t.equal(load.report('TEXT'), undefined);
  t.equal(load.running, true);
  pass(sampleMs, 0.25);
  t.equal(load.report('TEXT'), 'TEXT application_utilization=0.25,rps_fractional=0,eps=0');
  t.equal(load.report('JSON'), 'JSON {"application_utilization":0.25,"rps_fractional":0,"eps":0}');
});

t.test('rates are those of the last five seconds', async (t) => {
  const { sampler: load, pass } = sampler();
  load.report('TEXT');
  for (let second = 0; second < 10; second++) {
    for (let i = 0; i < 10; i++) load.ended(second < 5 ? 500 : 200);
    pass(sampleMs, second < 5 ? 0.9 : 0.1);
  }
  t.equal(load.report('TEXT'), 'TEXT application_utilization=0.1,rps_fractional=10,eps=0');
});

t.test('which answers are errors', async (t) => {
  const { sampler: load, pass } = sampler();
  load.report('TEXT');
  for (const status of [200, 302, 404, 429, 500, 503, 0, 499]) load.ended(status);
  pass(sampleMs, 0.5);
  t.equal(load.report('TEXT'), 'TEXT application_utilization=0.5,rps_fractional=8,eps=4');
});

t.test('between two samples the report stays the same', async (t) => {
  const { sampler: load, pass } = sampler();
  load.report('TEXT');
  pass(sampleMs, 0.5);
  const first = load.report('TEXT');
  for (let i = 0; i < 50; i++) load.ended(200);
  pass(sampleMs - 100, 1);
  t.equal(load.report('TEXT'), first);
  pass(100, 1);
  t.not(load.report('TEXT'), first);
});

t.test('when nobody asks for a minute it rests, and begins anew without old samples', async (t) => {
  const { clock, sampler: load, pass } = sampler();
  load.report('TEXT');
  pass(61_000, 0.9);
  t.equal(load.running, false);
  t.equal(clock.pending(), 0);
  pass(100_000, 0.9);
  t.equal(load.report('TEXT'), undefined);
  pass(sampleMs, 0.2);
  t.match(load.report('TEXT'), /utilization=0\.2,/);
});

t.test('closed it runs no more', async (t) => {
  const { clock, sampler: load } = sampler();
  load.report('TEXT');
  load.close();
  t.equal(clock.pending(), 0);
  t.equal(load.report('TEXT'), undefined);
  t.equal(clock.pending(), 0);
});
