import t from 'tap';
import {
  type CallWatcher,
  ClientCall,
  type Handler,
  type RunningTry,
  type TryWatcher,
} from '../../src/pipeline/client-call.ts';

function setup(handler: Handler = {}) {
  const log: string[] = [];
  const request = {
    method: 'GET',
    path: '/',
    headers: [],
    body: null,
    upgrade: undefined,
    own: false,
    grpc: undefined,
    headersTimeoutMs: undefined,
    bodyTimeoutMs: undefined,
    reset: undefined,
    expectContinue: undefined,
    idempotent: undefined,
    blocking: undefined,
  };
  const call = new ClientCall('http://a', request, handler, undefined, 0);
  const running = (name: string): RunningTry => ({
    abort: (reason) => void log.push(`${name} abort ${reason.message}`),
    pause: () => void log.push(`${name} pause`),
    resume: () => void log.push(`${name} resume`),
    abandon: () => void log.push(`${name} abandon`),
  });
  return { call, log, running };
}

t.test('an abort reaches the try under way and whoever waits, once', async (t) => {
  const { call, log, running } = setup();
  call.running = running('first');
  const waiting = call.until(new Promise(() => {}));
  t.notOk(call.aborted);
  call.abort(new Error('one'));
  call.abort(new Error('two'));
  await t.rejects(waiting, { message: 'one' });
  t.same(log, ['first abort one']);
  t.match(call, { aborted: true, cancelled: true, reason: { message: 'one' } });
  await t.rejects(call.until(Promise.resolve()), { message: 'one' }, 'nobody waits any more');
});

t.test('time that is up is not an abort of the application', async (t) => {
  const { call, log, running } = setup();
  call.running = running('try');
  call.expire(new Error('late'));
  call.expire(new Error('later'));
  t.match(call, { aborted: true, cancelled: false, reason: { message: 'late' } });
  call.abort(new Error('mine'));
  t.match(call, { aborted: true, cancelled: true, reason: { message: 'mine' } }, "the last word is the application's");
  call.expire(new Error('later still'));
  t.same(log, ['try abort late']);
});

t.test('an abort without a reason has the one that undici would give', async (t) => {
  for (const reason of [undefined, null]) {
    const { call } = setup();
    call.abort(reason);
    t.match(call.reason, { name: 'AbortError', code: 'UND_ERR_ABORTED' });
  }
});

t.test('waiting ends with what is waited for', async (t) => {
  const { call } = setup();
  t.equal(await call.until(Promise.resolve(7)), 7);
  await t.rejects(call.until(Promise.reject(new Error('failed'))), { message: 'failed' });
  call.abort(new Error('nobody waits'));
  t.ok(call.aborted);
});

t.test('pause and resume go to the try under way, resume only after pause', async (t) => {
  const { call, log, running } = setup();
  call.pause();
  call.running = running('a');
  call.resume();
  call.resume();
  call.pause();
  t.ok(call.paused);
  t.same(log, ['a resume', 'a pause']);
});

t.test('the next try tells the one before', async (t) => {
  const { call, log, running } = setup();
  call.running = running('a');
  const next = running('b');
  call.running = next;
  t.equal(call.running, next);
  call.running = undefined;
  t.same(log, ['a abandon', 'b abandon']);
});

t.test('watchers of a try belong to the next try, and are told when there is none', async (t) => {
  const { call, log } = setup();
  const watcher = (name: string): TryWatcher => ({
    tryReplied: () => {},
    tryEnded: (_call, error, status) => void log.push(`${name} ${error?.message} ${status}`),
  });
  t.equal(call.takeTryWatchers(), undefined);
  call.watchTry(watcher('a'));
  call.watchTry(watcher('b'));
  t.equal(call.takeTryWatchers()?.length, 2);
  t.equal(call.takeTryWatchers(), undefined);
  call.watchTry(watcher('c'));
  await t.rejects(call.failTry(new Error('refused')), { message: 'refused' });
  await t.rejects(call.failTry(new Error('again')), { message: 'again' });
  t.same(log, ['c refused 0']);
});

t.test('watchers of the call are told once', async (t) => {
  const { call, log } = setup();
  const watcher = (name: string): CallWatcher => ({
    callEnded: (_call, status, error) => void log.push(`${name} ${status} ${error?.message}`),
  });
  call.ended(500, undefined);
  call.watch(watcher('a'));
  call.watch(watcher('b'));
  call.ended(200, undefined);
  call.ended(0, new Error('later'));
  t.same(log, ['a 200 undefined', 'b 200 undefined']);
});

t.test('what a handler throws when it is told of an error becomes a warning', async (t) => {
  const warnings: unknown[] = [];
  const { emitWarning } = process;
  process.emitWarning = (warning) => void warnings.push(warning);
  t.teardown(() => {
    process.emitWarning = emitWarning;
  });
  const thrown = new Error('from the handler');
  for (const each of [thrown, 'text']) {
    setup({
      onResponseError() {
        throw each;
      },
    }).call.tellError(new Error('x'));
  }
  setup().call.tellError(new Error('nobody listens'));
  t.equal(warnings[0], thrown);
  t.match(warnings[1], { message: 'a handler threw text' });
  t.equal(warnings.length, 2);
});
