import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { type AuthorityTrust, parseObject, readTrust } from './ca-client.ts';
import { askAuthority, printable } from './ca-http.ts';
import type { Credentials } from './source.ts';
import { waitFor } from './wait.ts';

/** How long the authority is asked to hold a request until the bundle changes, seconds. */
const waitSeconds = 25;
const firstBackoffMs = 1_000;
const maxBackoffMs = 30_000;

/** What {@link watchBundle} needs. */
export interface BundleWatch {
  readonly url: URL;
  /** PEM; read anew for every request. */
  trustRoots(): Promise<readonly string[]>;
  /** Shown to the authority, which holds requests of members only. */
  credentials(): Credentials | undefined;
  /** For one request that need not wait, milliseconds. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** What the authority says now; also called when it has not changed, after trouble. */
  heard(trust: AuthorityTrust): void;
  /**
   * It cannot be reached, or answers nonsense, three times in a row: what restarts is back by then.
   * Called once until it is {@link BundleWatch.heard} again.
   */
  troubled(problem: MeshError): void;
}

/**
 * Hears of changes of the trust bundle within moments: asks for it, and asks the authority to hold
 * the next request until it changes (RFC 7240 `prefer: wait`, with `if-none-match`). An authority
 * that does not hold requests is asked about twice a minute. Ends when `signal` aborts, or when the
 * authority says that it has no such thing.
 */
export async function watchBundle(watch: BundleWatch, signal: AbortSignal): Promise<void> {
  const { clock, random } = watch;
  let known: { readonly tag: string; readonly trust: AuthorityTrust } | undefined;
  let failures = 0;

  /** Says how long to wait before asking again; nothing when there is no use in it. */
  const ask = async (): Promise<number | undefined> => {
    const credentials = watch.credentials();
    const answer = await askAuthority({
      url: watch.url,
      clock,
      path: 'v1/bundle',
      trustRoots: await watch.trustRoots(),
      timeoutMs: known === undefined ? watch.timeoutMs : watch.timeoutMs + waitSeconds * 1_000,
      headers: known === undefined ? {} : { 'if-none-match': known.tag, prefer: `wait=${waitSeconds}` },
      ...(credentials === undefined ? {} : { credentials }),
      signal,
    });
    if (signal.aborted) return undefined;
    if (answer.status === 404 || answer.status === 405) return undefined;
    const first = known === undefined;
    if (answer.status === 304 && known !== undefined) {
      if (failures >= 3) watch.heard(known.trust);
    } else {
      const body = answer.status === 200 ? parseObject(answer.body) : undefined;
      const trust = body === undefined ? undefined : readTrust(body);
      if (trust === undefined) throw strange(answer.status, answer.body);
      watch.heard(trust);
      const { etag } = answer.headers;
      known = etag === undefined ? undefined : { tag: etag, trust };
    }
    failures = 0;
    const holds = String(answer.headers['preference-applied']).startsWith('wait=');
    // The first answer has a tag, and with it the next request can be held. A little time between two
    // requests in any case: a bundle that changes all the time must not make a flood of them.
    return holds || (first && known !== undefined) ? 100 + random() * 400 : maxBackoffMs * between(random);
  };
  const strange = (status: number, text: string): MeshError =>
    new MeshError(
      'ERR_MESH_CA',
      `${watch.url.origin} answered ${status} for its bundle: ${printable(text.slice(0, 100))}`,
    );

  while (!signal.aborted) {
    let pauseMs: number | undefined;
    try {
      pauseMs = await ask();
      if (pauseMs === undefined) return;
    } catch (error) {
      if (signal.aborted) return;
      const problem = error instanceof MeshError ? error : new MeshError('ERR_MESH_CA', String(error));
      if (++failures === 3) watch.troubled(problem);
      pauseMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures - 1, 10)) * between(random);
    }
    await waitFor(clock, pauseMs, signal);
  }
}

/** So that members that were cut off together do not come back together. */
function between(random: Random): number {
  return 0.5 + random() / 2;
}
