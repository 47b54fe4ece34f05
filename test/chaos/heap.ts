import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
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
  // What a turn of the event loop lets go of is garbage after it only; some of it waits for timers.
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0, same = 0; round < 20 && same < 3; round++) {
    await (round < 3 ? turn() : pause(20));
    gc();
    const used = process.memoryUsage().heapUsed / 2 ** 20;
    same = used > least - 0.1 ? same + 1 : 0;
    least = Math.min(least, used);
  }
}
