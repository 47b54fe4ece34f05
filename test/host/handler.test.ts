import { PassThrough } from 'node:stream';
import t from 'tap';
import { type Dispatcher, errors } from 'undici';
import { asHandler, toRawHeaders } from '../../src/host/handler.ts';

/** A controller that writes down what is asked of it. */
function fakeController(rawHeaders: Buffer[] | string[] | null = null) {
  const asked: string[] = [];
  const controller: Dispatcher.DispatchController = {
    aborted: false,
    paused: false,
    reason: null,
    rawHeaders,
    rawTrailers: null,
    abort: (reason) => asked.push(`abort ${reason.name}: ${reason.message}`),
    pause: () => asked.push('pause'),
    resume: () => asked.push('resume'),
  };
  return { controller, asked };
}

const text = (raw: readonly Buffer[]): string[] => raw.map((item) => item.toString('latin1'));

t.test('a handler of undici 8 comes back as it is', async (t) => {
  const handler = { onRequestStart() {} };
  t.equal(asHandler(handler), handler);
});

t.test('a handler with both generations of methods counts as new when it has onRequestStart', async (t) => {
  const handler = { onRequestStart() {}, onConnect() {} };
  t.equal(asHandler(handler), handler);
});

t.test('an object that is no handler is left to undici to refuse', async (t) => {
  const nothing = {};
  t.equal(asHandler(nothing), nothing);
});

t.test('what is not an object is refused in the way of undici', async (t) => {
  for (const value of [undefined, null, 'handler', 7, () => {}]) {
    t.throws(() => asHandler(value), { name: 'InvalidArgumentError', code: 'UND_ERR_INVALID_ARG' });
  }
});

t.test('an old handler hears everything in its own words', async (t) => {
  const heard: unknown[] = [];
  const handler = asHandler({
    onConnect: (_abort: () => void, context: unknown) => heard.push(['connect', context]),
    onHeaders(status: number, raw: Buffer[], _resume: () => void, statusText: string) {
      heard.push(['headers', status, text(raw), statusText]);
      return true;
    },
    onData(chunk: Buffer) {
      heard.push(['data', chunk.toString()]);
      return true;
    },
    onComplete: (raw: Buffer[]) => heard.push(['complete', text(raw)]),
    onResponseStarted: () => heard.push('started'),
    onBodySent: (chunk: Buffer) => heard.push(['sent', chunk.toString()]),
    onRequestSent: () => heard.push('request sent'),
  });
  const { controller, asked } = fakeController([Buffer.from('X-Raw'), Buffer.from('yes')]);
  handler.onRequestStart?.(controller, { id: 1 });
  handler.onBodySent?.(Buffer.from('up'));
  handler.onRequestSent?.();
  handler.onResponseStarted?.();
  handler.onResponseStart?.(controller, 200, { 'x-raw': 'parsed' }, 'OK');
  handler.onResponseData?.(controller, Buffer.from('down'));
  controller.rawTrailers = ['X-Trailer', 'end'];
  handler.onResponseEnd?.(controller, {});
  t.same(heard, [
    ['connect', { id: 1 }],
    ['sent', 'up'],
    'request sent',
    'started',
    ['headers', 200, ['X-Raw', 'yes'], 'OK'],
    ['data', 'down'],
    ['complete', ['X-Trailer', 'end']],
  ]);
  t.same(asked, [], 'nothing was paused or aborted');
});

t.test('an old handler needs no more than onConnect', async (t) => {
  const handler = asHandler({ onConnect() {} });
  const { controller, asked } = fakeController();
  handler.onRequestStart?.(controller, null);
  handler.onResponseStarted?.();
  handler.onBodySent?.(Buffer.alloc(1));
  handler.onRequestSent?.();
  handler.onResponseStart?.(controller, 200, {});
  handler.onResponseData?.(controller, Buffer.alloc(1));
  handler.onResponseEnd?.(controller, {});
  t.same(asked, []);
});

t.test('false from onHeaders and onData pauses, the resume function goes on', async (t) => {
  let resume = (): void => {};
  const handler = asHandler({
    onConnect() {},
    onHeaders(_status: number, _raw: Buffer[], go: () => void) {
      resume = go;
      return false;
    },
    onData: () => false,
  });
  const { controller, asked } = fakeController();
  handler.onResponseStart?.(controller, 200, {}, 'OK');
  resume();
  handler.onResponseData?.(controller, Buffer.from('x'));
  resume();
  t.same(asked, ['pause', 'resume', 'pause', 'resume']);
});

t.test('false for a 1xx response does not pause what follows', async (t) => {
  const handler = asHandler({ onConnect() {}, onHeaders: () => false });
  const { controller, asked } = fakeController();
  handler.onResponseStart?.(controller, 103, {}, 'Early Hints');
  t.same(asked, []);
});

t.test('abort without a reason gives the reason that undici would give', async (t) => {
  let abort = (_reason?: Error): void => {};
  const handler = asHandler({
    onConnect(stop: (reason?: Error) => void) {
      abort = stop;
    },
  });
  const { controller, asked } = fakeController();
  handler.onRequestStart?.(controller, null);
  abort();
  abort(new TypeError('mine'));
  t.same(asked, ['abort AbortError: Request aborted', 'abort TypeError: mine']);
});

t.test('errors reach onError, also before there was a connection', async (t) => {
  const seen: Error[] = [];
  const handler = asHandler({ onConnect() {}, onError: (error: Error) => seen.push(error) });
  const error = new errors.SocketError('gone');
  handler.onResponseError?.(null as unknown as Dispatcher.DispatchController, error);
  t.same(seen, [error]);
});

t.test('an error that nobody listens for is thrown', async (t) => {
  const handler = asHandler({ onConnect() {} });
  t.throws(() => handler.onResponseError?.(fakeController().controller, new Error('lost')), { message: 'lost' });
});

t.test('an upgrade hands the socket to an old handler, and destroys it when nobody wants it', async (t) => {
  const { controller } = fakeController();
  const socket = new PassThrough();
  const taken: unknown[] = [];
  const wants = asHandler({
    onConnect() {},
    onUpgrade: (status: number, raw: Buffer[], given: unknown) => taken.push(status, text(raw), given === socket),
  });
  wants.onRequestUpgrade?.(controller, 101, { upgrade: 'chat' }, socket);
  t.same(taken, [101, ['upgrade', 'chat'], true]);
  t.notOk(socket.destroyed);

  const wantsNot = asHandler({ onConnect() {} });
  t.throws(() => wantsNot.onRequestUpgrade?.(controller, 101, {}, socket), { code: 'UND_ERR_INVALID_ARG' });
  t.ok(socket.destroyed);
});

t.test('raw headers: buffers stay, strings and parsed headers become latin1 buffers', async (t) => {
  const raw = [Buffer.from('A'), Buffer.from('1')];
  t.equal(toRawHeaders(raw, {}), raw, 'no copy of what undici kept');
  t.same(toRawHeaders(['Name', 'caf\u00e9'], {})[1], Buffer.from([0x63, 0x61, 0x66, 0xe9]));
  t.same(text(toRawHeaders([], { a: '1' })), [], 'raw headers win, also when there are none');
  const parsed = { ':status': '200', 'set-cookie': ['a=1', 'b=2'], gone: undefined, plain: 'yes' };
  t.same(text(toRawHeaders(null, parsed)), ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'plain', 'yes']);
  t.same(text(toRawHeaders({ ':status': '200' } as never, { plain: 'yes' })), ['plain', 'yes'], 'HTTP/2');
  t.same(toRawHeaders(undefined, undefined), []);
});
