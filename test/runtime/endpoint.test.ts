import t from 'tap';
import type { Dispatcher } from 'undici';
import { EndpointState } from '../../src/runtime/endpoint.ts';
import { anySeries } from '../support/idle-endpoints.ts';
import { endpoint } from '../support/snapshot.ts';

/** An endpoint whose connections are only written down. */
function setUp(perHost: boolean) {
  const log: string[] = [];
  const series = anySeries();
  const state = new EndpointState(endpoint(80), {
    perHost,
    open(_, host) {
      log.push(`open ${host}`);
      return { close: async () => void log.push(`close ${host}`) } as unknown as Dispatcher;
    },
    series: () => series,
  });
  return { state, log };
}

t.test('one set of connections serves all hosts', async (t) => {
  const { state, log } = setUp(false);
  t.equal(state.dispatcher('a'), state.dispatcher('b'));
  t.equal(state.host, 'a', 'the Host header that they send by themselves');
  await state.drain();
  t.same(log, ['open a', 'close a']);
});

t.test('where the name is part of the connection, each host has its own set', async (t) => {
  const { state, log } = setUp(true);
  const a = state.dispatcher('a');
  t.not(state.dispatcher('b'), a);
  t.equal(state.dispatcher('a'), a);
  t.equal(state.host, '', 'each request brings its Host header');
  t.ok(state.dispatcher(''));
  await state.drain();
  t.same(log, ['open a', 'open b', 'open 127.0.0.1:80', 'close a', 'close b', 'close 127.0.0.1:80']);
  t.not(state.dispatcher('a'), a);
  t.equal(state.generation, 1);
});

t.test('hosts without number do not make connections without number', async (t) => {
  const { state, log } = setUp(true);
  for (let i = 0; i < 70; i++) state.dispatcher(`h${i}`);
  t.same(
    log.filter((line) => line.startsWith('close')),
    Array.from({ length: 6 }, (_, i) => `close h${i}`),
  );
});
