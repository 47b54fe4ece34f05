import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { TunnelPolicy } from '../model/cluster.ts';

/** An answer to CONNECT that is longer is none. */
const maxHeadBytes = 16_384;
const endOfHead = Buffer.from('\r\n\r\n');

/**
 * Asks the HTTP proxy at the other end of a connection to carry its bytes on to another host (RFC 9110 section 9.3.6):
 * Istio's `tunnel` with protocol CONNECT. What comes after the answer stays in the socket, for whoever gets it.
 */
export function askForTunnel(
  socket: Socket,
  { method, targetHost, targetPort }: TunnelPolicy,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
  done: (error: Error | null) => void,
): void {
  let head: Buffer = Buffer.alloc(0);
  let settled = false;
  const settle = (error: Error | null): void => {
    // Its time may be over while the answer is read that came with it.
    if (settled) return;
    settled = true;
    cancel();
    socket.off('readable', onReadable).off('close', onClose).off('error', settle);
    done(error);
  };
  const onClose = (): void => settle(new Error('closed by the proxy'));
  const onReadable = (): void => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf(endOfHead);
      if (end === -1) {
        if (head.length <= maxHeadBytes) continue;
        settle(new Error(`its answer has no end within ${maxHeadBytes} bytes`));
        return;
      }
      const status = /^HTTP\/1\.[01] ([0-9]{3})[ \r]/.exec(head.toString('latin1', 0, end + 2))?.[1];
      const rest = head.subarray(end + endOfHead.length);
      if (status?.startsWith('2') !== true)
        settle(new Error(`it answered ${status ?? 'with something that is not HTTP'}`));
      else {
        settle(null);
        if (rest.length > 0) socket.unshift(rest);
      }
      return;
    }
  };
  const expire = (): void => settle(new Error(`it did not answer within ${timeoutMs} ms`));
  const cancel = clock.after(timeoutMs, () => clock.afterIo(expire));
  if (method !== 'CONNECT') {
    queueMicrotask(() => settle(new Error(`protocol ${method} is not spoken here, only CONNECT`)));
    return;
  }
  const authority = `${targetHost.includes(':') ? `[${targetHost}]` : targetHost}:${targetPort}`;
  socket.on('readable', onReadable).once('close', onClose).once('error', settle);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`);
}
