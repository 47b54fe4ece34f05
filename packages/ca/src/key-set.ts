import { readFile } from 'node:fs/promises';
import { type Clock, parseStrictJson } from 'inmesh/identity';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { fetchText, httpsUrl } from './fetch-text.ts';

/** Where the keys of an issuer of tokens are. One of `jwksFile` and `jwksUrl`, else OpenID Connect Discovery. */
export interface KeySetOptions {
  /** `iss` of the tokens; the base of discovery. */
  readonly issuer: string;
  /** File with a JWK set, read anew whenever the keys are asked for. */
  readonly jwksFile?: string;
  /** `https` URL of a JWK set. */
  readonly jwksUrl?: string;
  /** File with the roots (PEM) for `https`. Default: those of Node. */
  readonly caFile?: string;
  /** File with a token for the server of the keys: Kubernetes shows them to service accounts only, by default. */
  readonly tokenFile?: string;
}

/** The keys of one issuer. */
export interface KeySet {
  /**
   * Runs `verify` with the keys; once more with new ones when it knows no key for the token.
   *
   * @throws what `verify` throws, or Error when there are no keys
   */
  use<T>(verify: (key: JWTVerifyGetKey) => Promise<T>): Promise<T>;
}

const freshMs = 600_000;
const staleMs = 3_600_000;
const refetchMs = 30_000;
const maxBytes = 262_144;
const maxKeys = 64;

/**
 * Keeps the keys of an issuer: fetched when first needed, anew after ten minutes, and when a token
 * names a key that is not among them, at most every 30 seconds. Without an answer the last keys
 * serve for an hour; then there are none.
 */
export function keySet(options: KeySetOptions, clock: Clock): KeySet {
  let keys: JWTVerifyGetKey | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let running: Promise<void> | undefined;
  let problem: Error | undefined;

  const refresh = (): Promise<void> => {
    askedAt = clock.now();
    running ??= fetchKeys(options, clock)
      .then((found) => {
        keys = found;
        fetchedAt = clock.now();
        problem = undefined;
      })
      .catch((error: Error) => {
        problem = error;
      })
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  const mayAsk = (): boolean => running !== undefined || clock.now() - askedAt >= refetchMs;

  const current = async (): Promise<JWTVerifyGetKey> => {
    if (clock.now() - fetchedAt >= freshMs && mayAsk()) await refresh();
    if (keys !== undefined && clock.now() - fetchedAt < staleMs) return keys;
    throw problem ?? new Error('there are no keys');
  };

  return {
    use: async (verify) => {
      const first = await current();
      try {
        return await verify(first);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey) || !mayAsk()) throw error;
        await refresh();
        return await verify(await current());
      }
    },
  };
}

async function fetchKeys(options: KeySetOptions, clock: Clock): Promise<JWTVerifyGetKey> {
  if (options.jwksFile !== undefined) return keysOf(await readFile(options.jwksFile, 'utf8'));
  const ca = options.caFile === undefined ? undefined : [await readFile(options.caFile, 'utf8')];
  const token = options.tokenFile === undefined ? undefined : (await readFile(options.tokenFile, 'utf8')).trim();
  const get = (url: URL): Promise<string> =>
    fetchText({
      url,
      maxBytes,
      timeoutMs: 10_000,
      clock,
      ...(ca === undefined ? {} : { ca }),
      ...(token === undefined ? {} : { token }),
    });
  if (options.jwksUrl !== undefined) return keysOf(await get(httpsUrl(options.jwksUrl)));
  const document = objectOf(await get(discoveryUrl(options.issuer)), 'the discovery document');
  // OpenID Connect Discovery 4.3: it must speak of the issuer that was asked for.
  if (document['issuer'] !== options.issuer) throw new Error('the discovery document is of another issuer');
  const { jwks_uri: uri } = document;
  if (typeof uri !== 'string') throw new Error('the discovery document has no jwks_uri');
  return keysOf(await get(httpsUrl(uri)));
}

/** OpenID Connect Discovery 4: below the path of the issuer, whose last slash does not count. */
function discoveryUrl(issuer: string): URL {
  return httpsUrl(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

function keysOf(text: string): JWTVerifyGetKey {
  const { keys } = objectOf(text, 'the key set');
  if (!Array.isArray(keys)) throw new Error('the key set has no list of keys');
  if (keys.length > maxKeys) throw new Error(`the key set has more than ${maxKeys} keys`);
  // What is secret, or no key of this kind, verifies nothing.
  const usable = keys.filter(
    (key: unknown) =>
      typeof key === 'object' &&
      key !== null &&
      'kty' in key &&
      (key.kty === 'RSA' || key.kty === 'EC') &&
      !('d' in key),
  );
  if (usable.length === 0) throw new Error('the key set has no public RSA or EC key');
  return createLocalJWKSet({ keys: usable } as JSONWebKeySet);
}

function objectOf(text: string, what: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parseStrictJson(text, { maxLength: maxBytes, maxDepth: 8 });
  } catch (error) {
    throw new Error(`${what} cannot be read: ${(error as Error).message}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${what} is no object`);
}
