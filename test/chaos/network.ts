import { spawnSync } from 'node:child_process';
import { type Victim, victim } from './victims.ts';

/** Two networks that a cable joins: this process in one, a server in the other. */
export interface TwoNetworks {
  readonly server: Victim;
  readonly address: string;
  /** What this side sends is lost. */
  loseRequests(): void;
  /** What the other side sends is lost. */
  loseAnswers(): void;
  /** The cable is whole again. */
  heal(): void;
  /** Runs a command in the network of this process. */
  here(...command: readonly string[]): string;
  /** Runs a command in the network of the server. */
  there(...command: readonly string[]): string;
}

const here = '10.99.0.1';
const there = '10.99.0.2';
/** Nobody has it: what is sent to it goes into the cable and is not taken by anybody. */
const nobody = '02:00:00:00:00:99';

/** For a process that has a network of its own: joins it with another one, in which a server listens. */
export async function twoNetworks(owner: { teardown(end: () => unknown): void }): Promise<TwoNetworks> {
  const server = await victim(owner, { address: '0.0.0.0', under: ['unshare', '-n'] });
  const inside = ['nsenter', '-t', String(server.pid), '-n'];
  const runThere = (...command: readonly string[]): string => run(...inside, ...command);
  run('ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far', 'netns', String(server.pid));
  run('ip', 'address', 'add', `${here}/24`, 'dev', 'near');
  run('ip', 'link', 'set', 'near', 'up');
  runThere('ip', 'address', 'add', `${there}/24`, 'dev', 'far');
  runThere('ip', 'link', 'set', 'far', 'up');
  const forget = (go: typeof run, address: string, device: string): void => {
    go('ip', 'neighbour', 'flush', 'to', address, 'dev', device, 'nud', 'all');
  };
  return {
    server,
    address: there,
    loseRequests: () =>
      void run('ip', 'neighbour', 'replace', there, 'lladdr', nobody, 'dev', 'near', 'nud', 'permanent'),
    loseAnswers: () =>
      void runThere('ip', 'neighbour', 'replace', here, 'lladdr', nobody, 'dev', 'far', 'nud', 'permanent'),
    heal() {
      forget(run, there, 'near');
      forget(runThere, here, 'far');
    },
    here: run,
    there: runThere,
  };
}

/** Runs a command; what it printed. */
export function run(...command: readonly string[]): string {
  const [program = '', ...args] = command;
  const { error, status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Is there such a program? */
export function has(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
}
