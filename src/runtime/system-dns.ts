import { lookup, Resolver } from 'node:dns/promises';
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { AskName, DnsAnswer } from './resolver.ts';

/** What {@link createSystemDns} asks; for tests. */
export interface SystemDnsParts {
  readonly hostsFile?: string;
  /** Rejects with a code of node:dns; answers carry the time to live in seconds. */
  resolve?(name: string, family: 4 | 6): Promise<readonly { readonly address: string; readonly ttl: number }[]>;
  /** As the programs of this machine resolve the name (`getaddrinfo`). */
  lookup?(name: string): Promise<readonly string[]>;
}

/**
 * Resolves names as the machine does, and learns how long an answer is good for, which
 * `getaddrinfo` does not tell: first the hosts file, then DNS itself, and where DNS does not know
 * the name as it is written (search domains, `.local`, no server) the system.
 */
export function createSystemDns(parts: SystemDnsParts = {}): AskName {
  // Names that DNS does not answer fall back to the system, which has its own patience.
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  const resolve =
    parts.resolve ??
    ((name: string, family: 4 | 6) =>
      family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true }));
  const lookUp =
    parts.lookup ??
    (async (name: string) => (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address));
  const hosts = hostsReader(parts.hostsFile ?? defaultHostsFile);

  return async (name) => {
    const plain = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
    const listed = (await hosts()).get(plain);
    if (listed !== undefined) return { addresses: listed };
    // A name without a dot lives in a search domain, `localhost` and its like nowhere in DNS.
    if (plain.includes('.') && !plain.endsWith('.localhost')) {
      const answer = await fromDns(plain, resolve);
      if (answer !== undefined) return answer;
    }
    return { addresses: await lookUp(name) };
  };
}

const defaultHostsFile =
  process.platform === 'win32'
    ? `${process.env['SystemRoot'] ?? 'C:\\Windows'}\\System32\\drivers\\etc\\hosts`
    : '/etc/hosts';

/** These say that a name has no addresses of a family; all others, that nobody could be asked. */
const none: ReadonlySet<string | undefined> = new Set(['ENODATA', 'ENOTFOUND']);

async function fromDns(name: string, resolve: NonNullable<SystemDnsParts['resolve']>): Promise<DnsAnswer | undefined> {
  const both = await Promise.allSettled([resolve(name, 4), resolve(name, 6)]);
  const [first] = both;
  // Half an answer must not turn all calls to the other family: nobody has said that there are no such addresses.
  if (first.status === 'rejected' && !none.has((first.reason as NodeJS.ErrnoException).code)) return undefined;
  const records = both.flatMap((result) => (result.status === 'fulfilled' ? [...result.value] : []));
  if (records.length === 0) return undefined;
  return {
    addresses: records.map(({ address }) => address),
    ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1_000,
  };
}

/** The hosts file, read again when it was changed. */
function hostsReader(file: string): () => Promise<ReadonlyMap<string, readonly string[]>> {
  let read: ReadonlyMap<string, readonly string[]> = new Map();
  let readAt = '';
  return async () => {
    try {
      const { mtimeMs, size } = await stat(file);
      const version = `${mtimeMs}/${size}`;
      if (version !== readAt) {
        read = parseHosts(await readFile(file, 'utf8'));
        readAt = version;
      }
    } catch {
      read = new Map();
      readAt = '';
    }
    return read;
  };
}

/** `hosts(5)`: an address and its names a line. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      const addresses = found.get(key) ?? [];
      found.set(key, addresses);
      if (!addresses.includes(address)) addresses.push(address);
    }
  }
  return found;
}
