import type { Socket } from 'node:net';

/**
 * Makes a socket that was paused flow once somebody listens for its data, as one does that was never
 * paused. Without a listener nothing of what it has received is lost.
 */
export function flowOnData(socket: Socket): void {
  const onListener = (event: string | symbol): void => {
    if (event !== 'data') return;
    socket.off('newListener', onListener);
    // Now the listener is not there yet.
    process.nextTick(() => socket.resume());
  };
  socket.on('newListener', onListener);
}
