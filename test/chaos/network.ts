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
  /** Of all packets, in both directions, so many are lost at random. */
  losePackets(percent: number): void;
  /** How many packets were lost that way, and how many there were. */
  lost(): { readonly packets: number; readonly dropped: number };
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
    losePackets(percent) {
      lose(run, 'near', percent);
      lose(runThere, 'far', percent);
    },
    lost() {
      const sides = [
        run('tc', '-s', 'qdisc', 'show', 'dev', 'near'),
        runThere('tc', '-s', 'qdisc', 'show', 'dev', 'far'),
      ];
      // The first line is that of all packets of a side.
      const counts = sides.map(
        (text) => /Sent \d+ bytes (\d+) pkt \(dropped (\d+)/.exec(text)?.slice(1).map(Number) ?? [],
      );
      const dropped = counts.reduce((sum, [, each = 0]) => sum + each, 0);
      return { dropped, packets: dropped + counts.reduce((sum, [sent = 0]) => sum + sent, 0) };
    },
    heal() {
      forget(run, there, 'near');
      forget(runThere, here, 'far');
    },
    here: run,
    there: runThere,
  };
}

/**
 * A filter of the kernel draws a number for each packet that leaves, and sends those below `percent` into
 * a queue that has no end: where there is neither `netem` nor `nft`, this is what drops at random.
 */
function lose(go: typeof run, device: string, percent: number): void {
  const tc = (text: string): void => void go('tc', ...text.split(' '));
  // Otherwise one packet of the kernel may be many on the wire.
  go('ip', 'link', 'set', device, 'gso_max_segs', '1');
  tc(`qdisc add dev ${device} root handle 1: htb default 10 r2q 1000`);
  tc(`class add dev ${device} parent 1: classid 1:10 htb rate 10gbit`);
  tc(`class add dev ${device} parent 1: classid 1:20 htb rate 10gbit`);
  tc(`qdisc add dev ${device} parent 1:20 handle 20: blackhole`);
  // Load a random number; modulo 100; match when it is below.
  const program = `5,32 0 0 4294963256,148 0 0 100,53 1 0 ${percent},6 0 0 4294967295,6 0 0 0`;
  const filter = `filter add dev ${device} parent 1: protocol all prio 1 bpf bytecode`;
  go('tc', ...filter.split(' '), program, 'flowid', '1:20');
}

/** Runs a command; what it printed. */
export function run(...command: readonly string[]): string {
  const [program = '', ...args] = command;
  const { error, status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
