import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** What a service that gets copies can do to those who make them. */
export type Misbehaviour = 'hang' | 'reset' | 'flood';

const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk: Buffer = Buffer.concat([Buffer.from('4000\r\n'), Buffer.alloc(0x4000, 0x61), Buffer.from('\r\n')]);

const reactions: Readonly<Record<Misbehaviour, (socket: Socket) => void>> = {
  // Takes the request and never answers.
  hang() {},
  reset: (socket) => void socket.on('data', () => socket.resetAndDestroy()),
  // Answers without an end, as fast as it is read.
  flood: (socket) =>
    void socket.once('data', () => {
      const more = (): void => {
        while (socket.writable && socket.write(chunk));
      };
      socket.write(head);
      socket.on('drain', more);
      more();
    }),
};

/** A service that misbehaves, on a port of its own. */
export async function startShadow(kind: Misbehaviour): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    reactions[kind](socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
