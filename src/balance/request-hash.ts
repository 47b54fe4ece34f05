import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { type HeaderList, headerValue } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import { xxHash64Header } from '../lib/xxhash64.ts';
import type { HashKey } from '../model/cluster.ts';
import type { Scope } from '../pipeline/scope.ts';
import { cookieOf, newCookie } from './hash-cookie.ts';

/** What is hashed of a request: as the application made it, before a route changes path or headers. */
export interface HashedRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: HeaderList;
}

/** The hash of a request, for a balancer that chooses by it. */
export interface RequestHash {
  /**
   * Nothing when the request has no key. `host`: authority of a request without a Host header. `made`
   * is told the `set-cookie` header that the response must have, when a new cookie was the key;
   * without it none is made.
   */
  of(
    request: HashedRequest,
    host: string,
    scope: Scope | undefined,
    made?: (setCookie: string) => void,
  ): bigint | undefined;
  /** Keys are cookies that may have to be made. */
  readonly makesCookies: boolean;
}

/** What hashing needs from outside. */
export interface RequestHashOptions {
  readonly random: Random;
  /** Address of this workload: the source of calls that no inbound request causes. */
  ownAddress?(): string | undefined;
}

type KeyReader = (
  request: HashedRequest,
  host: string,
  scope: Scope | undefined,
  made: ((setCookie: string) => void) | undefined,
) => bigint | undefined;

/**
 * Compiles hash keys, Envoy's `hash_policy`. A key that is there twice is read once. The hash of each key that the request has is mixed into
 * that of the ones before it, by a rotation and an exclusive or; after a terminal key that gave a
 * hash the rest is not looked at.
 */
export function compileRequestHash(keys: readonly HashKey[], options: RequestHashOptions): RequestHash {
  const readers = keys.map((key, i) => ({
    read: readerOf(key, options),
    terminal: key.terminal === true,
    twin: keys.findIndex((other) => isSameKey(key, other)),
    own: i,
  }));
  const [first] = readers;
  const makesCookies = keys.some((key) => key.kind === 'cookie' && key.ttlMs !== undefined);
  // Istio has one key only.
  if (first === undefined) return { of: () => undefined, makesCookies };
  if (readers.length === 1) return { of: first.read, makesCookies };
  return {
    makesCookies,
    of(request, host, scope, made) {
      let hash: bigint | undefined;
      const found: (bigint | undefined)[] = [];
      for (const { own, read, terminal, twin } of readers) {
        // Else a cookie would be made twice.
        const next = twin === own ? read(request, host, scope, made) : found[twin];
        found.push(next);
        if (next !== undefined) {
          hash = hash === undefined ? next : BigInt.asUintN(64, (hash << 1n) | (hash >> 63n)) ^ next;
        }
        if (terminal && hash !== undefined) break;
      }
      return hash;
    },
  };
}

/** The same place in the request, whether what comes after it counts or not. */
function isSameKey(a: HashKey, b: HashKey): boolean {
  return isDeepStrictEqual({ ...a, terminal: undefined }, { ...b, terminal: undefined });
}

function readerOf(key: HashKey, { ownAddress, random }: RequestHashOptions): KeyReader {
  switch (key.kind) {
    case 'header':
      return headerHash(key.name.toLowerCase());
    case 'query': {
      const { name } = key;
      return ({ path }) => {
        const value = queryParameter(path, name);
        return value === undefined ? undefined : xxHash64Header(value);
      };
    }
    case 'sourceIp':
      return ({ headers }, _host, scope) => {
        const address = forwardedFor(headers) ?? scope?.callerAddress ?? ownAddress?.();
        return address === undefined ? undefined : xxHash64Header(address);
      };
    default:
      return ({ headers }, _host, _scope, made) => {
        let value = cookieOf(headers, key.name);
        if (value === undefined && key.ttlMs !== undefined && made !== undefined) {
          const cookie = newCookie(key, key.ttlMs, random);
          made(cookie.header);
          value = cookie.value;
        }
        return value === undefined ? undefined : xxHash64Header(value);
      };
  }
}

/** All lines of the header count, in whatever order they stand. */
function headerHash(name: string): KeyReader {
  switch (name) {
    case ':authority':
    case 'host':
      return ({ headers }, host) => {
        const authority = headerValue(headers, 'host') ?? host;
        return authority === '' ? undefined : xxHash64Header(authority);
      };
    case ':method':
      return ({ method }) => xxHash64Header(method);
    case ':path':
      return ({ path }) => xxHash64Header(path);
    default:
      return ({ headers }) => {
        let found: string | undefined;
        let several: string[] | undefined;
        for (let i = 0; i < headers.length; i += 2) {
          const key = headers[i] as string;
          if (key.length !== name.length || (key !== name && key.toLowerCase() !== name)) continue;
          const value = headers[i + 1];
          if (found === undefined && !Array.isArray(value)) found = String(value ?? '');
          else
            several = [
              ...(several ?? (found === undefined ? [] : [found])),
              ...(Array.isArray(value) ? value : [String(value ?? '')]),
            ];
        }
        if (several !== undefined) found = several.sort().join('');
        return found === undefined ? undefined : xxHash64Header(found);
      };
  }
}

/** The first parameter of this name, as it is written; '' when it has no value. */
function queryParameter(path: string, name: string): string | undefined {
  for (let at = path.indexOf('?') + 1; at > 0 && at <= path.length; ) {
    const next = path.indexOf('&', at);
    const end = next === -1 ? path.length : next;
    if (path.startsWith(name, at)) {
      const after = at + name.length;
      if (after === end) return '';
      if (after < end && path[after] === '=') return path.slice(after + 1, end);
    }
    at = end + 1;
  }
  return undefined;
}

/** The last address of `x-forwarded-for`, which is where a sidecar takes a request to come from. */
function forwardedFor(headers: HeaderList): string | undefined {
  const list = headerValue(headers, 'x-forwarded-for');
  if (list === undefined) return undefined;
  const address = list.slice(list.lastIndexOf(',') + 1).trim();
  return isIP(address) === 0 ? undefined : address;
}
