import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { discoveryUrl, isLocalIssuer, readDiscovery } from '../lib/openid-discovery.ts';
import type { Random } from '../lib/random.ts';
import type { JwtRule, RequestAuthentication } from '../model/request-authentication.ts';
import { fixedKeys, type KeySource, noKeys } from './keys.ts';
import { type LoadedKeys, type LoadKeys, RemoteKeys, type RemoteKeysStatus } from './remote-keys.ts';

/** One document, from a URL that is configured or that a configured issuer names. */
export interface KeyFetchRequest {
  readonly url: string;
  readonly timeoutMs: number;
  /** Whether it may be on this host. */
  readonly loopback: boolean;
  readonly signal: AbortSignal;
}

/** Rejects with words that quote nothing of what was fetched. */
export type FetchKeyDocument = (request: KeyFetchRequest) => Promise<LoadedKeys>;

/** How the keys of the tokens that RequestAuthentications accept are doing. */
export interface JwksStatus extends RemoteKeysStatus {
  /** `uri`: from that URL. `discovery`: from where the issuer says, whose URL it is. */
  readonly from: 'uri' | 'discovery';
  /** Without a query, which may hold a secret. */
  readonly url: string;
}

export interface KeySourcesOptions {
  readonly fetch: FetchKeyDocument;
  /** Longest time between two fetches, milliseconds. */
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  changed(status: JwksStatus): void;
}

/** The keys of this process: for each address once, whichever rules name it. */
export interface KeySources {
  /** Starts to fetch what these name, keeps what is named still, ends the rest. */
  use(policies: readonly RequestAuthentication[]): void;
  /** Where the keys of a rule come from. */
  sourceOf(rule: JwtRule): KeySource;
  status(): readonly JwksStatus[];
  /** Addresses that have not been tried yet. */
  pending(): readonly string[];
  /** Resolves when all addresses that are named now have been tried once, for good or bad. */
  settled(): Promise<void>;
  close(): void;
}

interface Entry {
  readonly from: JwksStatus['from'];
  readonly url: string;
  readonly allowed: Allowed;
  readonly keys: RemoteKeys;
}

/** The longest `timeout` of the rules that share an address. */
interface Allowed {
  timeoutMs: number;
}

/** Where an issuer keeps its keys is asked for again after this time, and after each failure. */
const discoveryKeptMs = 3_600_000;

export function createKeySources(options: KeySourcesOptions): KeySources {
  const { logger } = options;
  const entries = new Map<string, Entry>();
  const inline = new Map<string, KeySource>();
  let closed = false;

  const remote = (rule: JwtRule): Entry | undefined => {
    const { issuer, keys, timeoutMs } = rule;
    if (keys.kind === 'inline' || closed) return undefined;
    const address = keys.kind === 'uri' ? keys.uri : issuer;
    const id = `${keys.kind} ${address}`;
    const known = entries.get(id);
    if (known !== undefined) return known;
    const from = keys.kind;
    const url = shown(address);
    const allowed: Allowed = { timeoutMs };
    const keySet = new RemoteKeys({
      ...options,
      load: from === 'uri' ? loadFrom(options, address, allowed) : discover(options, address, allowed),
      failed: (problem) => logger.debug({ url, problem }, 'keys of tokens were not fetched'),
      changed: (status) => {
        const { keys: count, problem } = status;
        if (problem === undefined) logger.info({ url, keys: count }, 'keys of tokens were fetched');
        else if (count > 0) logger.warn({ url, problem }, 'keys of tokens cannot be fetched: those from before stay');
        else logger.warn({ url, problem }, 'keys of tokens cannot be fetched, and there are none: tokens are refused');
        options.changed({ from, url, ...status });
      },
    });
    const entry: Entry = { from, url, allowed, keys: keySet };
    entries.set(id, entry);
    return entry;
  };
  const inlineOf = (jwks: string): KeySource => {
    let source = inline.get(jwks);
    if (source === undefined) {
      try {
        source = fixedKeys(jwks);
      } catch (error) {
        source = noKeys;
        logger.error(
          { problem: (error as Error).message },
          'keys of a RequestAuthentication cannot be used: its tokens are refused',
        );
      }
      inline.set(jwks, source);
    }
    return source;
  };

  return {
    use(policies) {
      const used = new Map<Entry, number>();
      const texts = new Set<string>();
      for (const { rules } of policies) {
        for (const rule of rules) {
          if (rule.keys.kind === 'inline') texts.add(rule.keys.jwks);
          const entry = remote(rule);
          if (entry !== undefined) used.set(entry, Math.max(used.get(entry) ?? 0, rule.timeoutMs));
        }
      }
      for (const text of inline.keys()) if (!texts.has(text)) inline.delete(text);
      for (const [id, entry] of entries) {
        const timeoutMs = used.get(entry);
        if (timeoutMs !== undefined) entry.allowed.timeoutMs = timeoutMs;
        else {
          entry.keys.close();
          entries.delete(id);
        }
      }
    },
    sourceOf(rule) {
      return rule.keys.kind === 'inline' ? inlineOf(rule.keys.jwks) : (remote(rule)?.keys ?? noKeys);
    },
    status: () => [...entries.values()].map(({ from, keys, url }) => ({ from, url, ...keys.status })),
    pending: () => [...entries.values()].filter(({ keys }) => !keys.isSettled).map(({ url }) => url),
    async settled() {
      await Promise.all([...entries.values()].map(({ keys }) => keys.settled));
    },
    close() {
      closed = true;
      for (const { keys } of entries.values()) keys.close();
      entries.clear();
    },
  };
}

function loadFrom({ fetch }: KeySourcesOptions, url: string, allowed: Allowed): LoadKeys {
  return (signal) => fetch({ url, timeoutMs: allowed.timeoutMs, loopback: true, signal });
}

/** Asks the issuer where its keys are, which holds for a while, and then for the keys. */
function discover({ clock, fetch }: KeySourcesOptions, issuer: string, allowed: Allowed): LoadKeys {
  const loopback = isLocalIssuer(issuer);
  let found: string | undefined;
  let foundAt = 0;
  return async (signal) => {
    const url = discoveryUrl(issuer);
    const began = clock.now();
    if (found === undefined || clock.now() - foundAt >= discoveryKeptMs) {
      found = undefined;
      const { text } = await fetch({ url, timeoutMs: allowed.timeoutMs, loopback, signal });
      found = readDiscovery(text, issuer);
      foundAt = clock.now();
    }
    try {
      // Both together have the time of one: somebody may be waiting.
      const timeoutMs = Math.max(1, allowed.timeoutMs - (clock.now() - began));
      return await fetch({ url: found, timeoutMs, loopback, signal });
    } catch (error) {
      found = undefined;
      throw error;
    }
  };
}

function shown(address: string): string {
  const url = URL.parse(address);
  return url === null ? address : `${url.origin}${url.pathname}`;
}
