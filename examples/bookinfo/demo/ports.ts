import { once } from 'node:events';
import { createServer } from 'node:net';

/** `wanted` when it is free on the loopback address, else 0: the system chooses when the service listens. */
export async function freePort(wanted: number): Promise<number> {
  if (wanted === 0) return 0;
  const server = createServer();
  try {
    server.listen(wanted, '127.0.0.1');
    await once(server, 'listening');
    return wanted;
  } catch {
    return 0;
  } finally {
    server.close();
  }
}
