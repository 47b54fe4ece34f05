import t from 'tap';
import { mayPropagate, propagatedHeaders } from '../../src/trace/propagated.ts';

t.test('headers of the application may be handed on', async (t) => {
  for (const name of ['end-user', 'x-canary', 'authorization', 'cookie', 'accept-language', 'x-forwarded-for']) {
    t.ok(mayPropagate(name), name);
  }
});

t.test('headers of a connection, of a body and of the mesh may not', async (t) => {
  for (const name of [
    'host',
    'connection',
    'transfer-encoding',
    'te',
    'expect',
    'content-length',
    'content-type',
    'x-request-id',
    'traceparent',
    'baggage',
    'x-b3-traceid',
    'x-envoy-expected-rq-timeout-ms',
    'x-inmesh-error',
    'x-forwarded-client-cert',
    ':authority',
    'a b',
    '',
  ]) {
    t.notOk(mayPropagate(name), name);
  }
});

t.test('what a request has of them is handed on as it is', async (t) => {
  const headers = { 'end-user': 'jason', empty: '', other: 'x', long: 'x'.repeat(8_193) };
  t.same(propagatedHeaders(headers, ['end-user', 'empty', 'absent', 'long']), ['end-user', 'jason', 'empty', '']);
  t.equal(propagatedHeaders(headers, ['absent']), undefined);
});
