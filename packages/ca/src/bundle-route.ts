import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from 'inmesh/identity';
import type { Authority, AuthorityBundle } from './authority-types.ts';

/** Longest time that a request for the bundle is held, seconds. Below what proxies and firewalls cut off. */
export const maxWaitSeconds = 55;
/** Most requests that are held at once; further ones are answered at once. */
const maxWaiting = 2_000;

/** An answer to `GET /v1/bundle`. */
export interface BundleAnswer {
  /** 304 when the bundle is still the one that the client has. */
  readonly status: 200 | 304;
  readonly headers: Readonly<Record<string, string>>;
  readonly bundle: AuthorityBundle;
}

/** Answers requests for the bundle, those that want to wait for a change included. */
export interface BundleRoute {
  /**
   * With `if-none-match` (RFC 9110 13.1.2) of the present bundle the answer is 304; with `prefer:
   * wait=<seconds>` (RFC 7240 4.3) beside it, it comes when the bundle changes or the time is over.
   *
   * @param isMember whether the client has proven to be of the mesh: nobody else may keep a request here
   * @param gone aborts when the client goes away
   */
  answer(headers: IncomingHttpHeaders, isMember: boolean, gone: AbortSignal): Promise<BundleAnswer>;
  /** Answers all that wait, and lets nobody wait any more. */
  close(): void;
}

export function createBundleRoute(authority: Authority, clock: Clock): BundleRoute {
  const waiting = new Set<() => void>();
  let closed = false;
  const wakeAll = (): void => {
    for (const wake of [...waiting]) wake();
  };
  const unsubscribe = authority.subscribe(wakeAll);

  const wait = (seconds: number, gone: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        gone.removeEventListener('abort', wake);
        waiting.delete(wake);
        resolve();
      };
      const cancel = clock.after(seconds * 1_000, wake);
      gone.addEventListener('abort', wake);
      waiting.add(wake);
    });

  return {
    answer: async (headers, isMember, gone) => {
      const known = headers['if-none-match'];
      const seconds = waitOf(headers);
      const isKnown = ({ tag }: AuthorityBundle): boolean => known === quoted(tag);
      const waits = isMember && seconds > 0 && !closed && waiting.size < maxWaiting;
      let bundle = authority.bundle();
      if (waits && isKnown(bundle) && !gone.aborted) {
        await wait(seconds, gone);
        bundle = authority.bundle();
      }
      return {
        status: isKnown(bundle) ? 304 : 200,
        headers: {
          etag: quoted(bundle.tag),
          ...(waits ? { 'preference-applied': `wait=${seconds}` } : {}),
        },
        bundle,
      };
    },
    close: () => {
      closed = true;
      unsubscribe();
      wakeAll();
    },
  };
}

function quoted(tag: string): string {
  return `"${tag}"`;
}

function waitOf({ prefer }: IncomingHttpHeaders): number {
  const text = Array.isArray(prefer) ? prefer.join(',') : (prefer ?? '');
  const [, digits] = /^(?:[^,]{0,100},){0,5}\s*wait=([0-9]{1,6})\s*(?:,|$)/.exec(text.slice(0, 500)) ?? [];
  return digits === undefined ? 0 : Math.min(Number(digits), maxWaitSeconds);
}
