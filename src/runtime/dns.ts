import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { Endpoint } from '../model/cluster.ts';

/** Keeps the addresses of names up to date. */
export interface NameWatch {
  /** Settles after the first resolution; absent afterwards. */
  warming(): Promise<void> | undefined;
  close(): void;
}

/** The system's resolver does not tell how long an answer is good for. */
const refreshMs = 30_000;
const retryMs = 1_000;
/** Addresses of one name that are used; more come from a mistake or an attack. */
const maxAddresses = 1_000;

/**
 * Resolves the names among `endpoints` again and again, each name to all of its addresses, as
 * Envoy's STRICT_DNS does. When a name cannot be resolved its last good answer stays.
 */
export function watchNames(options: {
  readonly endpoints: readonly Endpoint[];
  readonly clock: Clock;
  readonly random: Random;
  resolved(endpoints: readonly Endpoint[]): void;
  /** Addresses of a name. Default: the system's resolver, `/etc/hosts` included. */
  resolve?(name: string): Promise<readonly string[]>;
}): NameWatch {
  const { endpoints, clock, random, resolved } = options;
  const resolve = options.resolve ?? systemResolve;
  const answers = new Map<string, readonly string[]>();
  let closed = false;
  let cancel: (() => void) | undefined;
  let first: Promise<void> | undefined;

  const refresh = async (): Promise<void> => {
    const names = new Set(endpoints.map((endpoint) => endpoint.address).filter((address) => isIP(address) === 0));
    let failed = false;
    await Promise.all(
      [...names].map(async (name) => {
        try {
          const addresses = await resolve(name);
          if (addresses.length > 0) answers.set(name, preferIpv4(addresses).slice(0, maxAddresses));
          else failed = true;
        } catch {
          failed = true;
        }
      }),
    );
    if (closed) return;
    resolved(expand(endpoints, answers));
    // Jitter keeps many processes that started together from asking together for ever.
    const delayMs = (failed ? retryMs : refreshMs) * (0.9 + 0.2 * random());
    cancel = clock.after(delayMs, () => void refresh());
  };

  first = refresh().finally(() => {
    first = undefined;
  });
  return {
    warming: () => first,
    close() {
      closed = true;
      cancel?.();
    },
  };
}

function expand(endpoints: readonly Endpoint[], answers: ReadonlyMap<string, readonly string[]>): Endpoint[] {
  const result = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const addresses = isIP(endpoint.address) === 0 ? (answers.get(endpoint.address) ?? []) : [endpoint.address];
    // Two names for one address are one endpoint.
    for (const address of addresses) result.set(`${address} ${endpoint.port}`, { ...endpoint, address });
  }
  return [...result.values()];
}

/**
 * The IPv4 addresses where there are any (Envoy `V4_PREFERRED`): each address becomes an endpoint,
 * and where IPv6 is broken, or a server listens on IPv4 only, half of them would not answer.
 */
function preferIpv4(addresses: readonly string[]): readonly string[] {
  const v4 = addresses.filter((address) => isIP(address) === 4);
  return v4.length > 0 ? v4 : addresses;
}

async function systemResolve(name: string): Promise<readonly string[]> {
  const answers = await lookup(name, { all: true, verbatim: true });
  return answers.map((answer) => answer.address);
}
