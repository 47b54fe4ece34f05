import { createServer, type Server, type Socket } from 'node:net';

const body = '{"hello":"world"}';
const response: Buffer = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
);
const endOfHead = '\r\n\r\n';

/**
 * Answers every request without a body as cheaply as Node can: it only looks for the ends of heads.
 * A real HTTP server would use up its core before the fastest client does.
 */
export function rawServer(): Server {
  return createServer(answerRaw);
}

/** Answers what comes on one connection, plaintext or TLS. */
export function answerRaw(socket: Socket): void {
  socket.setNoDelay(true);
  // The last bytes seen, for an end that is spread over two reads.
  let tail = '';
  socket.on('data', (data) => {
    const text = tail + data.toString('latin1');
    let answers = 0;
    let at = text.indexOf(endOfHead);
    let rest = 0;
    while (at !== -1) {
      answers++;
      rest = at + endOfHead.length;
      at = text.indexOf(endOfHead, rest);
    }
    tail = text.slice(Math.max(rest, text.length - endOfHead.length + 1));
    if (answers === 1) socket.write(response);
    else if (answers > 1) socket.write(Buffer.concat(Array.from({ length: answers }, () => response)));
  });
  socket.on('error', () => socket.destroy());
}
