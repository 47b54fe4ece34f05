import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/** The next port that is tried; processes that run at the same time begin at different ones. */
let candidate = process.pid;

/**
 * Ports of loopback that nobody listens on just now, and that nobody gets who asks for any port: they are below those
 * that the system gives away (Linux: ip_local_port_range). Another server could be given one of those before its owner
 * listens on it, and who calls one of them while nobody listens may even be connected with himself.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 10_000 + ((candidate++ * 7) % 20_000);
    const server = createServer().listen(port, '127.0.0.1');
    const listening = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!listening) continue;
    server.close();
    await once(server, 'close');
    ports.push(port);
  }
  return ports;
}

/**
 * A port of loopback on which nobody listens, nor will: a client holds it, for as long as this process
 * lives. A port that is merely free may be somebody else's a moment later.
 */
export async function refusingPort(): Promise<number> {
  const server = createServer((socket) => void socket.on('error', () => {}).unref()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const holder = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(holder, 'connect');
  holder.on('error', () => {}).unref();
  server.unref();
  return holder.localPort as number;
}
