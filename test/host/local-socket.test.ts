import { once } from 'node:events';
import t from 'tap';
import { LocalSocket, type SocketAnswer } from '../../src/host/local-socket.ts';

const exchange = async (answer: SocketAnswer, method = 'GET'): Promise<string> => {
  const socket = new LocalSocket(answer, method);
  let heard = '';
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1');
  });
  socket.write('GET / HTTP/1.1\r\n');
  socket.write('host: a\r\n\r\n');
  await once(socket, 'end');
  return heard;
};

t.test('one request gets one answer, whose end is known', async (t) => {
  const body = Buffer.from('gone');
  const table: readonly (readonly [SocketAnswer, string, string])[] = [
    [
      { status: 410, headers: { 'content-length': '4', 'x-many': ['a', 'b'], 'x-none': undefined }, body },
      'GET',
      'HTTP/1.1 410 Gone\r\ncontent-length: 4\r\nx-many: a\r\nx-many: b\r\nconnection: close\r\n\r\ngone',
    ],
    [
      { status: 410, headers: { 'content-length': '4' }, body },
      'HEAD',
      'HTTP/1.1 410 Gone\r\ncontent-length: 4\r\nconnection: close\r\n\r\n',
    ],
    [{ status: 200, headers: {} }, 'GET', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'],
    [
      { status: 200, headers: {}, body },
      'GET',
      'HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngone',
    ],
    [{ status: 204, headers: {} }, 'GET', 'HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n'],
    [{ status: 599, headers: {} }, 'GET', 'HTTP/1.1 599 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n'],
  ];
  for (const [answer, method, expected] of table) t.equal(await exchange(answer, method), expected);
});

t.test('nothing is said before somebody asks', async (t) => {
  const socket = new LocalSocket({ status: 200, headers: {} }, 'GET');
  socket.setKeepAlive().setNoDelay().setTimeout().ref().unref();
  t.equal(socket.read(), null);
  socket.destroy();
  t.equal(socket.destroyed, true);
});
