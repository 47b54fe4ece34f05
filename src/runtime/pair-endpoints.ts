import type { Endpoint } from '../model/cluster.ts';
import { endpointKey } from './endpoint.ts';

/** What is remembered of an endpoint. */
interface Known {
  readonly name: string;
  readonly endpoint: Endpoint;
}

/** What is known of each endpoint of a list, and who is not in it any more. */
export interface Pairs<S> {
  /** In the order of the list; nothing for a new one. */
  readonly known: readonly (S | undefined)[];
  readonly gone: readonly S[];
}

/**
 * Finds what is known of endpoints by address and port. Where a list changed in one place only, what
 * is before and after that place is not looked up. An address that is in the list twice is two endpoints.
 */
export function pairEndpoints<S extends Known>(before: readonly S[], endpoints: readonly Endpoint[]): Pairs<S> {
  const known = new Array<S | undefined>(endpoints.length);
  const shorter = Math.min(before.length, endpoints.length);
  let start = 0;
  while (start < shorter && isAt(before[start], endpoints[start])) {
    known[start] = before[start];
    start++;
  }
  let end = 0;
  while (end < shorter - start && isAt(before.at(-1 - end), endpoints.at(-1 - end))) {
    known[endpoints.length - 1 - end] = before.at(-1 - end);
    end++;
  }
  const left = new Map<string, S[]>();
  for (let i = before.length - 1 - end; i >= start; i--) {
    const state = before[i] as S;
    const same = left.get(state.name);
    if (same === undefined) left.set(state.name, [state]);
    else same.push(state);
  }
  for (let i = start; i < endpoints.length - end; i++) {
    known[i] = left.get(endpointKey(endpoints[i] as Endpoint))?.pop();
  }
  return { known, gone: [...left.values()].flat() };
}

function isAt(state: Known | undefined, endpoint: Endpoint | undefined): boolean {
  return state?.endpoint.port === endpoint?.port && state?.endpoint.address === endpoint?.address;
}
