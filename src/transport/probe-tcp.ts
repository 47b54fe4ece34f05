import type { Socket } from 'node:net';
import type { TcpProbe } from '../model/health-check.ts';
import { type ConnectTarget, openConnection } from './connector.ts';
import type { Prober } from './prober.ts';

/** So much is read while looking for what should be there. */
const maxAnswerBytes = 65_536;

/** A new connection for each question. */
export function tcpProber(target: ConnectTarget, probe: TcpProbe): Prober {
  const { receive, send } = probe;
  return {
    ask(done) {
      let over = false;
      let open: Socket | null = null;
      const end = (message: string | undefined): void => {
        if (over) return;
        over = true;
        open?.destroy();
        done(message === undefined ? { kind: 'connected' } : { kind: 'error', message });
      };
      openConnection(target, (error, socket) => {
        if (socket === null) {
          end(error?.message ?? 'no connection');
          return;
        }
        // What comes after the end is of no interest.
        socket.on('error', (cause) => end(cause.message));
        if (over) {
          socket.destroy();
          return;
        }
        open = socket;
        if (receive.length === 0) {
          end(undefined);
          return;
        }
        let answer = Buffer.alloc(0);
        socket.on('data', (chunk: Buffer) => {
          answer = Buffer.concat([answer, chunk]);
          if (hasInOrder(answer, receive)) end(undefined);
          else if (answer.length > maxAnswerBytes) end(`the answer is not in its first ${maxAnswerBytes} bytes`);
        });
        socket.on('close', () => end('closed without the answer'));
        if (send !== undefined) socket.write(send);
      });
      return () => {
        over = true;
        open?.destroy();
      };
    },
    renew() {
      // Nothing is kept.
    },
    close() {
      // Whoever asked has stopped it.
    },
  };
}

/** Each part is there, after the one before; anything may be between them. */
export function hasInOrder(answer: Buffer, parts: readonly Uint8Array[]): boolean {
  let from = 0;
  for (const part of parts) {
    const at = answer.indexOf(part, from);
    if (at === -1) return false;
    from = at + part.length;
  }
  return true;
}
