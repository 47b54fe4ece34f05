import t from 'tap';
import { toHttp1, toHttp2 } from '../../src/transport/http2-headers.ts';

const pseudo = { ':method': 'GET', ':path': '/x', ':authority': 'web' };

t.test('the authority becomes Host; another Host beside it shows in the target', async (t) => {
  t.same(toHttp1(pseudo, [':method', 'GET', 'accept', '*/*'], false), {
    method: 'GET',
    target: '/x',
    headers: ['host', 'web', 'accept', '*/*'],
  });
  t.same(toHttp1(pseudo, ['host', 'WEB'], false).headers, ['host', 'web']);
  const both = toHttp1(pseudo, ['host', 'other'], false);
  t.same([both.target, both.headers], ['http://web/x', ['host', 'other']]);
  t.same(toHttp1({ ':method': 'GET', ':path': '/' }, ['host', 'a'], false).headers, ['host', 'a']);
  t.same(toHttp1({}, [], false), { method: '', target: '', headers: [] });
});

t.test('headers of one connection stay there', async (t) => {
  const headers = [
    'connection',
    'x',
    'keep-alive',
    '1',
    'upgrade',
    'h2c',
    'http2-settings',
    'x',
    'proxy-connection',
    'x',
    'te',
    'trailers',
  ];
  t.same(toHttp1(pseudo, headers, false).headers, ['host', 'web', 'te', 'trailers']);
  t.same(
    { ...toHttp2(['Connection', 'close', 'Transfer-Encoding', 'chunked', 'ETag', '"x"', ':status', '1'], 200) },
    { ':status': 200, etag: '"x"' },
  );
});

t.test('split cookies are joined, repeated headers stay repeated', async (t) => {
  t.same(toHttp1(pseudo, ['cookie', 'a=1', 'x-a', '1', 'cookie', 'b=2', 'x-a', '2'], false).headers, [
    'host',
    'web',
    'x-a',
    '1',
    'x-a',
    '2',
    'cookie',
    'a=1; b=2',
  ]);
  t.same({ ...toHttp2(['set-cookie', 'a', 'Set-Cookie', 'b', 'set-cookie', 'c']) }, { 'set-cookie': ['a', 'b', 'c'] });
});
