import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Heap in use after garbage was collected, MiB. */
export async function heapMiB(): Promise<number> {
  await collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

/** Memory that is held, heap and buffers, after garbage was collected, MiB: the process itself grows with its garbage, too. */
export async function heldMiB(): Promise<number> {
  await collect();
  const { external, heapUsed } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

async function collect(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  // What a turn of the event loop lets go of is garbage after it only.
  for (let i = 0; i < 3; i++) {
    await turn();
    gc();
  }
}
