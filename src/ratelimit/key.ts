import type { RateLimitKey } from '../model/rate-limit.ts';
import type { ServerCall } from '../pipeline/server-call.ts';

/** What of a request tells it apart from others. A `ServerCall` has all of it. */
export type KeyFacts = Pick<ServerCall, 'request' | 'method' | 'path' | 'host' | 'peer' | 'claims'>;

/** The value of one part of a key; nothing when the request does not have it. */
export function partOf(part: RateLimitKey, facts: KeyFacts): string | undefined {
  switch (part.kind) {
    case 'principal':
      return facts.peer?.spiffeId;
    case 'remoteAddress':
      return withoutMapping(facts.request.socket.remoteAddress);
    case 'method':
      return facts.method;
    case 'path':
      return foldPath(facts.path);
    case 'host':
      return hostName(facts.host);
    case 'header':
      return textOf(facts.request.headers[part.name]);
    case 'claim':
      return claimText(facts.claims?.[part.name]);
    default:
      throw new TypeError(`unknown part of a key: ${String(part satisfies never)}`);
  }
}

/**
 * Compiles the parts of a key. Values that are missing are part of it, too: callers that leave a
 * header out share one bucket, and do not escape their limit.
 */
export function compileKey(parts: readonly RateLimitKey[]): (facts: KeyFacts) => string {
  const [only] = parts;
  if (only === undefined) return () => '';
  if (parts.length === 1) return (facts) => partOf(only, facts) ?? '';
  // A length ahead of each value: no value can be written so that it looks like two.
  return (facts) => {
    let key = '';
    for (const part of parts) {
      const value = partOf(part, facts) ?? '';
      key += `${value.length}:${value}`;
    }
    return key;
  };
}

/** `::ffff:10.0.0.1` is 10.0.0.1, which came to a socket for both families. */
function withoutMapping(address: string | undefined): string | undefined {
  return address?.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** What routers take for the same path is the same path. */
function foldPath(path: string): string {
  const folded = path.toLowerCase().replaceAll(/\/{2,}/g, '/');
  return folded.length > 1 && folded.endsWith('/') ? folded.slice(0, -1) : folded;
}

function hostName(host: string): string {
  const colon = host.lastIndexOf(':');
  const name = colon > host.lastIndexOf(']') ? host.slice(0, colon) : host;
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

function textOf(value: string | readonly string[] | undefined): string | undefined {
  return value === undefined || typeof value === 'string' ? value : value.join(', ');
}

function claimText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? undefined : JSON.stringify(value);
}
