import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { plainEnvironment } from '../support/plain-environment.ts';
import { within } from './load.ts';
import type { PlaneMesh } from './plane-resources.ts';

/** A control plane in a process of its own; what it can be asked for is in `plane.ts`. */
export interface PlaneProcess {
  readonly address: string;
  hold(mesh: PlaneMesh): Promise<void>;
  change(change: { readonly cluster: number; readonly round: number; readonly changed: number }): Promise<void>;
  /** As many bad responses as good ones. */
  garbage(options: { readonly responses: number }): Promise<{
    readonly sent: number;
    /** Bad ones that were refused by their name and field. */
    readonly refused: number;
    readonly accepted: number;
  }>;
  update(options: { readonly updates: number; readonly perSecond: number }): Promise<{
    readonly seconds: number;
    readonly acks: number;
    readonly nacks: number;
    /** Number of the last update of each resource. */
    readonly last: Readonly<Record<string, number>>;
  }>;
}

const program = fileURLToPath(new URL('./plane.ts', import.meta.url));

interface Message {
  readonly address?: string;
  readonly number?: number;
  readonly result?: unknown;
}

/** Starts one; it is killed at the end of the case, and dies when this process does. */
export async function planeProcess(owner: { teardown(end: () => unknown): void }): Promise<PlaneProcess> {
  // The runner of tests would put its loaders into the environment of every child.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, '--conditions=@inmesh/source', program];
  const child = spawn('env', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: plainEnvironment() });
  const gone = once(child, 'exit');
  let address: string | undefined;
  let calls = 0;
  const waiting = new Map<number, (result: unknown) => void>();
  child.on('message', (message: Message) => {
    if (message.number === undefined) address = message.address;
    else waiting.get(message.number)?.(message.result);
  });
  owner.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  });
  await within(30_000, () => address !== undefined || child.exitCode !== null);
  if (address === undefined) throw new Error('the control plane of a case did not start');
  const call = (name: string, argument: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const number = ++calls;
      waiting.set(number, resolve);
      void gone.then(() => reject(new Error('the control plane of a case is gone')));
      child.send({ number, call: name, argument });
    });
  return {
    address,
    hold: async (mesh) => void (await call('hold', mesh)),
    change: async (change) => void (await call('change', change)),
    garbage: async (options) => (await call('garbage', options)) as never,
    update: async (options) => (await call('update', options)) as never,
  };
}
