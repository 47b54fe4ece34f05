import { parseArgs } from 'node:util';
import type { Size } from './worlds.ts';

/** What `npm run lab` is asked for. */
export interface LabOptions extends Size {
  readonly seed: number;
  /** Nothing was asked for but what the documentation shows. */
  readonly isDefault: boolean;
}

/** What the documentation shows. */
export const defaults = { seed: 1, clients: 1_000, servers: 1_000 } as const;

export const usage = `npm run lab [-- --seed N --clients N --servers N]

Compares the balancers in a simulation, and prints tables. Without arguments it also writes
docs/load-balancing.json and .svg, and the tables of docs/load-balancing.md.`;

/** Reads the command line; a text says what is wrong with it. */
export function parseLabArguments(given: readonly string[]): LabOptions | string {
  let values: { readonly seed?: string; readonly clients?: string; readonly servers?: string };
  try {
    const option = { type: 'string' } as const;
    ({ values } = parseArgs({ args: [...given], options: { seed: option, clients: option, servers: option } }));
  } catch (error) {
    return (error as Error).message;
  }
  const read = (name: keyof typeof defaults, least: number, most: number): number => {
    const number = Number(values[name] ?? defaults[name]);
    return Number.isInteger(number) && number >= least && number <= most ? number : Number.NaN;
  };
  const seed = read('seed', 0, 4_294_967_295);
  const clients = read('clients', 1, 10_000);
  const servers = read('servers', 2, 10_000);
  for (const [name, number] of Object.entries({ seed, clients, servers })) {
    if (Number.isNaN(number)) return `--${name}: must be a whole number in its bounds, got ${values[name as 'seed']}`;
  }
  const isDefault = seed === defaults.seed && clients === defaults.clients && servers === defaults.servers;
  return { seed, clients, servers, isDefault };
}
