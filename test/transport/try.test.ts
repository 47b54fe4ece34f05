import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { Dispatcher } from 'undici';
import { MeshError } from '../../src/errors.ts';
import { ClientCall, type ClientRequest, type Handler } from '../../src/pipeline/client-call.ts';
import { sendDirect, sendTry } from '../../src/transport/terminal.ts';

/** A call, and a dispatcher that only keeps what it is given. */
function setup(changes: Partial<ClientRequest> = {}) {
  const events: string[] = [];
  const request: ClientRequest = {
    own: false,
    grpc: undefined,
    method: 'GET',
    path: '/',
    headers: [],
    body: null,
    upgrade: undefined,
    headersTimeoutMs: undefined,
    bodyTimeoutMs: undefined,
    reset: undefined,
    expectContinue: undefined,
    idempotent: undefined,
    blocking: undefined,
    ...changes,
  };
  const handler: Handler = {
    onResponseStart: (_controller, status) => void events.push(String(status)),
    onResponseData: (_controller, chunk) => void events.push(`data ${chunk}`),
    onResponseEnd: () => void events.push('end'),
    onResponseError: (_controller, error) => void events.push(`error ${error.message}`),
  };
  const call = new ClientCall('http://a', request, handler, undefined, 0);
  const dispatched: { readonly options: Dispatcher.DispatchOptions; readonly handler: Required<Handler> }[] = [];
  const dispatcher = {
    dispatch: (options: never, given: never) => void dispatched.push({ options, handler: given }),
  } as unknown as Dispatcher;
  call.endpoint = { name: '10.0.0.1:80', host: 'usual', dispatcher: () => dispatcher };
  call.watchTry({
    tryReplied: (_call, status) => void events.push(`replied ${status}`),
    tryEnded: (_call, error, status) =>
      void events.push(
        `ended ${status}${error === undefined ? '' : ` ${(error as { code?: string }).code ?? error.message}`}`,
      ),
  });
  const controller = (): Dispatcher.DispatchController & { readonly asked: string[] } => {
    const asked: string[] = [];
    return {
      asked,
      aborted: false,
      paused: false,
      reason: null,
      rawHeaders: [],
      rawTrailers: [],
      abort: (reason) => void asked.push(`abort ${reason.message}`),
      pause: () => void asked.push('pause'),
      resume: () => void asked.push('resume'),
    };
  };
  const undici = (): Required<Handler> => dispatched.at(-1)?.handler as Required<Handler>;
  return { call, controller, dispatched, events, undici };
}
const broken = (): Error => Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });

t.test('what arrives before the decision is kept, and handed on in order', async (t) => {
  const { call, controller, events, undici } = setup();
  const sent = sendTry(call);
  const own = controller();
  undici().onRequestStart(own, null);
  undici().onResponseStart(own, 200, {}, 'OK');
  undici().onResponseData(own, Buffer.from('a'));
  undici().onResponseData(own, Buffer.from('b'));
  const reply = await sent;
  t.same(events, ['replied 200']);
  reply.deliver(call);
  undici().onResponseData(own, Buffer.from('c'));
  undici().onResponseEnd(own, {});
  t.same(events.slice(1), ['200', 'data a', 'data b', 'data c', 'ended 200', 'end']);
});

t.test('a failure between headers and delivery is told instead of them', async (t) => {
  const { call, controller, events, undici } = setup();
  const sent = sendTry(call);
  const own = controller();
  undici().onRequestStart(own, null);
  undici().onResponseStart(own, 200, {}, 'OK');
  undici().onResponseData(own, Buffer.from('half'));
  undici().onResponseError(own, broken());
  (await sent).deliver(call);
  t.same(events, [
    'replied 200',
    'ended 200 ERR_MESH_UPSTREAM_RESET',
    'error 10.0.0.1:80 broke the connection: other side closed',
  ]);
});

t.test('a reply that was given up passes nothing on', async (t) => {
  const { call, controller, events, undici } = setup();
  const sent = sendTry(call);
  const own = controller();
  undici().onRequestStart(own, null);
  undici().onResponseStart(own, 503, { 'content-length': '4' }, '');
  (await sent).discard();
  undici().onResponseData(own, Buffer.from('data'));
  call.pause();
  undici().onResponseEnd(own, {});
  t.same(events, ['replied 503', 'ended 503']);
  t.same(own.asked, ['resume'], 'short: it is read to its end');
});

t.test('aborted in the queue: it fails at once, and is stopped when its turn comes', async (t) => {
  const { call, controller, events, undici } = setup();
  const sent = sendTry(call);
  call.abort(new Error('mine'));
  await t.rejects(sent, { message: 'mine' });
  t.same(events, ['ended 0 mine']);
  const own = controller();
  undici().onRequestStart(own, null);
  t.same(own.asked, ['abort mine']);
  undici().onResponseError(own, new Error('mine'));
  t.equal(events.length, 1);
});

t.test('one that gave up in the queue says nothing about the try that follows it', async (t) => {
  const { call, controller, undici } = setup();
  const started: string[] = [];
  call.startWatcher = { tryStarted: ({ endpoint }) => void started.push(endpoint?.name ?? '') };
  const first = sendTry(call);
  const stale = undici();
  call.running?.abort(new Error('too late'));
  await t.rejects(first, { message: 'too late' });
  call.sent = false;
  const second = sendTry(call);
  const own = controller();
  stale.onRequestStart(own, null);
  t.same(own.asked, ['abort too late']);
  t.equal(call.sent, false, 'nothing of the second try has left');
  t.same(started, [], 'and it has no connection');
  undici().onRequestStart(controller(), null);
  t.equal(call.sent, true);
  t.same(started, ['10.0.0.1:80']);
  undici().onResponseError(controller(), broken());
  await t.rejects(second);
});

t.test('connections that cannot be set up give back what the try holds', async (t) => {
  const { call, events } = setup();
  const dispatch = (): never => {
    throw new TypeError('Invalid URL');
  };
  call.endpoint = { name: '10.0.0.1:80', host: '', dispatcher: () => ({ dispatch }) as unknown as Dispatcher };
  await t.rejects(sendTry(call), { message: 'Invalid URL' });
  t.same(events, ['ended 0 Invalid URL']);
});

t.test('a first connection that breaks is not repeated, a reused one once', async (t) => {
  for (const [begin, sends] of [
    [() => false, 1],
    [() => true, 2],
  ] as const) {
    const { call, controller, dispatched, events, undici } = setup();
    const sent = sendTry(call).catch((error: Error) => error);
    for (let i = 0; i < sends; i++) {
      const attempt = undici() as Required<Handler> & { connection: unknown };
      attempt.connection = { begin, end() {} };
      attempt.onRequestStart(controller(), null);
      attempt.onResponseError(controller(), broken());
      await nextTurn();
    }
    t.equal(dispatched.length, sends);
    t.match(await sent, { code: 'ERR_MESH_UPSTREAM_RESET' });
    t.same(events, ['ended 0 ERR_MESH_UPSTREAM_RESET']);
    if (sends === 2) t.equal(dispatched[0]?.options, dispatched[1]?.options);
  }
});

t.test('not repeated: a response that had begun, a call that was aborted meanwhile', async (t) => {
  const begun = setup();
  const first = sendTry(begun.call).catch((error: Error) => error);
  Object.assign(begun.undici(), { connection: { begin: () => true, end() {} } });
  begun.undici().onRequestStart(begun.controller(), null);
  begun.undici().onResponseStarted();
  begun.undici().onResponseError(begun.controller(), broken());
  t.match(await first, { code: 'ERR_MESH_UPSTREAM_RESET' });

  const aborted = setup();
  const second = sendTry(aborted.call).catch((error: Error) => error);
  Object.assign(aborted.undici(), { connection: { begin: () => true, end() {} } });
  aborted.undici().onRequestStart(aborted.controller(), null);
  aborted.undici().onResponseError(aborted.controller(), broken());
  aborted.call.abort(new Error('mine'));
  await nextTurn();
  t.equal(aborted.dispatched.length, 1);
  t.match(await second, { message: 'mine' });
});

t.test('errors are named in words of the mesh inside, and left alone outside', async (t) => {
  const inside = setup();
  const first = sendTry(inside.call);
  inside.undici().onResponseError(null as never, broken());
  await t.rejects(first, {
    code: 'ERR_MESH_UPSTREAM_RESET',
    endpoint: '10.0.0.1:80',
    cause: { code: 'UND_ERR_SOCKET' },
  });
  const outside = setup();
  const second = sendDirect(outside.call);
  outside.undici().onResponseError(null as never, broken());
  await t.rejects(second, { code: 'UND_ERR_SOCKET' });
  const own = setup();
  const third = sendTry(own.call);
  const error = new MeshError('ERR_MESH_NO_IDENTITY', 'x');
  own.undici().onResponseError(null as never, error);
  t.equal(await third.catch((reason: unknown) => reason), error);
});

t.test('another Host header than the usual one is written, once', async (t) => {
  const { call, dispatched } = setup();
  call.host = 'other';
  void sendTry(call).catch(() => {});
  void sendTry(call).catch(() => {});
  t.same(dispatched[0]?.options.headers, ['host', 'other']);
  t.same(dispatched[1]?.options.headers, ['host', 'other']);
  const usual = setup();
  usual.call.host = 'usual';
  void sendTry(usual.call).catch(() => {});
  t.same(usual.dispatched[0]?.options.headers, []);
});

t.test('nothing that a try holds is lost when it cannot begin', async (t) => {
  const none = setup();
  none.call.endpoint = undefined;
  await t.rejects(sendTry(none.call), { code: 'ERR_MESH_NO_HEALTHY_ENDPOINT' });
  t.same(none.events, ['ended 0 ERR_MESH_NO_HEALTHY_ENDPOINT']);
  const failing = setup();
  failing.call.endpoint = {
    name: 'x',
    host: '',
    dispatcher() {
      throw new Error('no pool');
    },
  };
  await t.rejects(sendTry(failing.call), { message: 'no pool' });
  t.same(failing.events, ['ended 0 no pool']);
  const late = setup();
  late.call.abort(new Error('mine'));
  await t.rejects(sendTry(late.call), { message: 'mine' });
  t.same(late.events, ['ended 0 mine']);
  t.equal(late.dispatched.length, 0);
});
