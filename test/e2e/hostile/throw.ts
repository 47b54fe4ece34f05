import { type ChildProcess, fork } from 'node:child_process';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { clientHello } from '../../support/client-hello.ts';
import { plainEnvironment } from '../../support/plain-environment.ts';
import { type Dice, diceOf, spoil } from './dice.ts';
import { http1Bytes } from './http1-bytes.ts';
import { http2Bytes } from './http2-bytes.ts';
import type { Said } from './server.ts';

type Ready = Extract<Said, { kind: 'ready' }>;

/** What came of it. */
export interface Thrown {
  readonly connections: number;
  /** Requests that got as far as an application: who throws nothing but rubbish tests nothing. */
  readonly handled: number;
  /** What no handler caught, with the seed of a connection that was open then; the process would have ended. */
  readonly escaped: readonly string[];
  /** Whether somebody with good intentions is served afterwards, on each port. */
  readonly unserved: readonly string[];
}

export class HostileRun {
  readonly #child: ChildProcess;
  readonly #escaped: string[];
  readonly #open: Set<string>;
  #ready: Ready | undefined;
  #health: ((said: Extract<Said, { kind: 'health' }>) => void) | undefined;
  #exited: boolean;

  constructor() {
    const entry = fileURLToPath(new URL('./server.ts', import.meta.url));
    const execArgv = ['--conditions=@inmesh/source', '--disable-warning=ExperimentalWarning'];
    this.#child = fork(entry, [], { env: plainEnvironment(), execArgv });
    this.#escaped = [];
    this.#open = new Set();
    this.#ready = undefined;
    this.#health = undefined;
    this.#exited = false;
  }

  async start(): Promise<readonly string[]> {
    const { promise, reject, resolve } = Promise.withResolvers<Ready>();
    this.#child.on('message', (said: Said) => {
      if (said.kind === 'ready') resolve(said);
      else if (said.kind === 'health') this.#health?.(said);
      else this.#escaped.push(`${said.what} (${[...this.#open].slice(-8).join(', ')}): ${said.error}`);
    });
    this.#child.on('exit', (code, signal) => {
      this.#exited = true;
      if (code !== 0 && signal !== 'SIGTERM') this.#escaped.push(`the process ended: ${code} ${signal}`);
      reject(new Error('the process ended before it was ready'));
    });
    this.#ready = await promise;
    return Object.keys(this.#ready.ports);
  }

  /** Throws the bytes of these seeds, some at a time. */
  async throw(from: number, count: number, lanes = 16): Promise<Thrown> {
    const { ports } = this.#ready as Ready;
    const names = Object.keys(ports);
    let next = from;
    const lane = async (): Promise<void> => {
      while (next < from + count && !this.#exited) {
        const seed = next++;
        const dice = diceOf(seed);
        // Half of all goes to the mesh itself.
        const name = dice.chance(0.4) ? 'mesh' : dice.pick(names);
        const tag = `${name} ${seed}`;
        this.#open.add(tag);
        await this.#one(ports[name] as number, name, dice);
        this.#open.delete(tag);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    // What comes late: timeouts of bodies.
    await new Promise((resolve) => setTimeout(resolve, 400));
    const health = this.#exited ? undefined : await this.#ask();
    const unserved: string[] = [];
    for (const name of names) {
      // The limits of the server are short: on a machine that is busy with other things one may not be in time.
      let why = await whyNot(ports[name] as number, name);
      for (let i = 0; i < 5 && why !== undefined; i++) why = await whyNot(ports[name] as number, name);
      if (why !== undefined) unserved.push(`${name}: ${why}`);
    }
    return { connections: count, handled: health?.handled ?? 0, escaped: [...this.#escaped], unserved };
  }

  #ask(): Promise<Extract<Said, { kind: 'health' }>> {
    return new Promise((resolve) => {
      this.#health = resolve;
      this.#child.send('health');
    });
  }

  async #one(port: number, name: string, dice: Dice): Promise<void> {
    const { tls, token } = this.#ready as Ready;
    const secure = !name.startsWith('own') && dice.chance(0.15);
    if (!secure && !name.startsWith('own') && dice.chance(0.05)) {
      const hello = clientHello({
        alpn: [Buffer.from(dice.pick(['h2', 'http/1.1', '', 'x']))],
        serverName: Buffer.from(dice.pick(['web', '', 'a\0b', '\xff'])),
      });
      return play(connectTcp({ host: '127.0.0.1', port }), [spoil(hello, dice)], dice);
    }
    const http2 = name === 'own HTTP/2' || (name !== 'own' && dice.chance(0.5));
    const given = http2 ? http2Bytes(dice, { token }) : [http1Bytes(dice, { token })];
    const bytes = dice.chance(0.2) ? [spoil(Buffer.concat(given), dice)] : given;
    const socket = secure
      ? connectTls({
          host: '127.0.0.1',
          port,
          ...tls,
          checkServerIdentity: () => undefined,
          ALPNProtocols: [http2 ? 'h2' : 'http/1.1'],
        })
      : connectTcp({ host: '127.0.0.1', port });
    return play(socket, bytes, dice);
  }

  stop(): void {
    this.#child.kill();
  }
}

/** Writes in one piece, in several or byte by byte, and ends in one of the ways in which clients end. */
async function play(socket: Socket, given: readonly Buffer[], dice: Dice): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
  socket.resume();
  const whole = dice.chance(0.6);
  const pieces = whole ? [Buffer.concat(given)] : given.flatMap((bytes) => split(bytes, dice));
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    if (dice.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
  }
  const how = dice.below(6);
  if (how === 0) socket.destroy();
  else if (how === 1 && !('encrypted' in socket)) socket.resetAndDestroy();
  else if (how === 2) socket.end();
  const timer = setTimeout(() => socket.destroy(), dice.chance(0.15) ? 250 : 15 + dice.below(30));
  await closed;
  clearTimeout(timer);
}

function split(bytes: Buffer, dice: Dice): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = dice.chance(0.1) ? at + 1 : at + 1 + dice.below(bytes.length);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

/** Why somebody with good intentions is not served; nothing when they are. */
async function whyNot(port: number, name: string): Promise<string | undefined> {
  if (name === 'own HTTP/2') return undefined;
  try {
    const { headers, status } = await fetch(`http://127.0.0.1:${port}/good`, { signal: AbortSignal.timeout(5_000) });
    return status === 200 ? undefined : `${status} ${headers.get('x-inmesh-error') ?? ''}`;
  } catch (error) {
    return String((error as Error).cause ?? error);
  }
}
