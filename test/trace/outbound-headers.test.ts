import t from 'tap';
import type { HeaderList } from '../../src/lib/header-list.ts';
import type { Scope } from '../../src/pipeline/scope.ts';
import { addOutboundHeaders } from '../../src/trace/outbound-headers.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const scope: Scope = {
  requestId: 'req-1',
  traceHeaders: ['traceparent', traceparent, 'tracestate', 'a=1', 'baggage', 'user=7'],
};
const add = (headers: HeaderList, inScope?: Scope): HeaderList => {
  addOutboundHeaders(headers, inScope);
  return headers;
};

t.test('request id and trace of the inbound request travel on', async (t) => {
  t.same(add([], scope), ['x-request-id', 'req-1', ...scope.traceHeaders]);
});

t.test('outside of a request there is a fresh request id, and no trace', async (t) => {
  const [name, id, ...more] = add([]);
  t.equal(name, 'x-request-id');
  t.match(id as string, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.same(more, []);
  t.not(add([])[1], id);
});

t.test('a request id of the application stays, and stays alone', async (t) => {
  t.same(add(['X-Request-Id', 'mine']), ['X-Request-Id', 'mine']);
  t.same(add(['X-Request-Id', 'mine'], scope).slice(0, 4), ['X-Request-Id', 'mine', 'traceparent', traceparent]);
});

t.test('a trace of the application keeps ours out entirely: two halves of two traces are none', async (t) => {
  for (const name of ['Traceparent', 'b3']) {
    const sent = add([name, 'own'], scope);
    t.same(sent, [name, 'own', 'x-request-id', 'req-1', 'baggage', 'user=7'], 'baggage is no part of a trace');
  }
});

t.test('headers that are handed on go along, also with a trace of the application; its own stay', async (t) => {
  const carrying: Scope = { ...scope, carried: ['end-user', 'jason', 'x-canary', '1'] };
  const sent = add(['traceparent', 'own', 'X-Canary', '0'], carrying);
  t.same(sent.slice(4), ['x-request-id', 'req-1', 'end-user', 'jason', 'baggage', 'user=7']);
  t.same(add([], { requestId: 'r', traceHeaders: [], carried: ['a', '1'] }), ['x-request-id', 'r', 'a', '1']);
});

t.test('other headers of the application are not doubled', async (t) => {
  const headers = add(['Baggage', 'own=1'], scope);
  t.same(headers, ['Baggage', 'own=1', 'x-request-id', 'req-1', 'traceparent', traceparent, 'tracestate', 'a=1']);
});

t.test('a scope without trace adds none', async (t) => {
  t.same(add([], { requestId: 'r', traceHeaders: [] }), ['x-request-id', 'r']);
});
