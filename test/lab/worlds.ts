import type { ServerKind } from './server.ts';
import type { World } from './simulate.ts';

/** How large the fleet is. */
export interface Size {
  readonly clients: number;
  readonly servers: number;
}

const tenths = (count: number): number[] => Array.from({ length: Math.ceil(count / 100) }, (_, i) => i * 100 + 1);

/**
 * A large fleet as they are: one server in ten is three times as slow as the others, one is a
 * hundred times as slow, and one in a hundred dies, is called on for five seconds because clients
 * do not know, and comes back cold. On average servers are busy for a third of their time.
 */
export function fleet({ clients, servers }: Size): World {
  const kinds = Array.from({ length: servers }, (_, i): ServerKind => {
    if (i === servers - 1) return { serviceMs: 1_500 };
    return { serviceMs: i % 10 === 0 ? 45 : 15 };
  });
  return {
    clients,
    servers: kinds,
    rps: servers * 20,
    lengthMs: 60_000,
    measureFromMs: 30_000,
    timeoutMs: 1_000,
    retries: 2,
    deaths: { servers: tenths(servers - 1), atMs: 40_000, noticedMs: 45_000, backMs: 50_000 },
  };
}

/** Few clients and ten servers, each busy for a fifth of its time; `odd` is how the first one is. */
export function small(odd: ServerKind = { serviceMs: 5 }): World {
  return {
    clients: 10,
    servers: Array.from({ length: 10 }, (_, i) => (i === 0 ? odd : { serviceMs: 5 })),
    rps: 400,
    lengthMs: 31_000,
    measureFromMs: 1_000,
    timeoutMs: 5_000,
    retries: 2,
  };
}

/** One of ten servers is a hundred times as slow as the others. */
export const oneSlow: World = small({ serviceMs: 500 });

/** One of ten servers answers 429 to everything at once. */
export const oneRefusing: World = { ...small({ serviceMs: 5, refuses: true }), measureFromMs: 15_000 };
