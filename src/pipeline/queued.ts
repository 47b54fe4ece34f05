import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Fewer requests of one HTTP/1 connection than these may be under way behind another one: HTTP/2 has as many streams by default.
 * A sidecar reads none of them before the first is answered; Node.js hands all to the application at once.
 */
export const maxQueued = 100;

type Closeable = ServerResponse & { _closed?: boolean };

const lines = new WeakMap<object, Set<ServerResponse>>();

/** Is the response in a line behind others of its connection? Nothing of it is sent before those are. */
export function isQueued(response: ServerResponse): boolean {
  return response.socket === null && !response.writableFinished;
}

/**
 * Lets those who wait for the end of a queued response hear of it when its connection ends before its turn comes:
 * Node.js 22 tells nobody, and whatever is given back at the end of a request would be kept for ever.
 *
 * @returns false: too many are under way, and the connection has been cut: nobody would get an answer
 */
export function joinLine({ socket }: IncomingMessage, response: ServerResponse): boolean {
  // Node.js reads what has arrived to its end.
  if (socket.destroyed) return false;
  let line = lines.get(socket);
  if (line === undefined) {
    const own = new Set<ServerResponse>();
    socket.once('close', () => {
      for (const each of own) abandon(each);
    });
    lines.set(socket, (line = own));
  }
  const queue = line;
  queue.add(response);
  response.once('close', () => queue.delete(response));
  // To count them costs something: now and then is enough.
  if (queue.size % maxQueued !== 0 || unanswered(queue) < maxQueued) return true;
  socket.destroy();
  return false;
}

/** An application that answers at once may have any number of answers on their way. */
function unanswered(queue: ReadonlySet<ServerResponse>): number {
  let count = 0;
  for (const { writableEnded } of queue) if (!writableEnded) count++;
  return count;
}

/** As newer ones of Node.js do it, which do not do it again. */
function abandon(response: Closeable): void {
  if (response.closed) return;
  response.destroyed = true;
  response._closed = true;
  response.emit('close');
}
