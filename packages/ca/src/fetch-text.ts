import { Agent, type RequestOptions, request } from 'node:https';
import { isIP } from 'node:net';
import { type Clock, meshCiphers } from 'inmesh/identity';

/** One GET. */
export interface FetchOptions {
  readonly url: URL;
  /** Roots (PEM) that the server's certificate must chain to. Default: those of Node. */
  readonly ca?: readonly string[];
  /** In place of the comparison of host names. */
  readonly checkServerIdentity?: RequestOptions['checkServerIdentity'];
  /** Sent as `authorization: Bearer`; not to where a redirect leads. */
  readonly token?: string;
  readonly maxBytes: number;
  /** From the connection to the last byte, redirects included, milliseconds. */
  readonly timeoutMs: number;
  /** How many redirects are followed. Default 0. */
  readonly redirects?: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/**
 * Fetches a text over HTTPS: bounded in time and size, on a connection of its own, redirected only
 * to `https` URLs that are held to the same rules.
 *
 * @throws Error whose message says what went wrong, without what the server answered
 */
export async function fetchText(options: FetchOptions): Promise<string> {
  const ends = new AbortController();
  const late = new Error(`no complete answer within ${options.timeoutMs} ms`);
  const stopWaiting = options.clock.after(options.timeoutMs, () => ends.abort(late));
  const signals = options.signal === undefined ? [ends.signal] : [ends.signal, options.signal];
  const signal = AbortSignal.any(signals);
  try {
    let { url, token } = options;
    for (let left = options.redirects ?? 0; ; left--) {
      const answer = await get(url, token, options, signal);
      if ('text' in answer) return answer.text;
      if (left <= 0) throw new Error(`it redirects${options.redirects === undefined ? '' : ' once too often'}`);
      url = redirected(answer.location, url);
      token = undefined;
    }
  } catch (error) {
    // The error of an aborted request says only that it was.
    throw ends.signal.aborted ? late : error;
  } finally {
    stopWaiting();
  }
}

/**
 * A URL that a text may be fetched from: `https`, without user and password (SPIFFE Federation, 5.2.1.1).
 *
 * @throws Error
 */
export function httpsUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url === null || url.protocol !== 'https:') throw new Error('expected an https URL');
  if (url.username !== '' || url.password !== '') throw new Error('expected an https URL without user and password');
  return url;
}

function redirected(location: string | undefined, from: URL): URL {
  if (location === undefined) throw new Error('it redirects to nowhere');
  try {
    return httpsUrl(location, from);
  } catch (error) {
    throw new Error(`it redirects to another kind of URL: ${(error as Error).message}`);
  }
}

type Answer = { readonly text: string } | { readonly location: string | undefined };

const redirects: readonly (number | undefined)[] = [301, 302, 303, 307, 308];

function get(url: URL, token: string | undefined, options: FetchOptions, signal: AbortSignal): Promise<Answer> {
  const { ca, checkServerIdentity, maxBytes } = options;
  // An agent of its own: no connection and no TLS session may outlive the trust that opened it.
  const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        agent,
        ...(ca === undefined ? {} : { ca: [...ca] }),
        ...(checkServerIdentity === undefined ? {} : { checkServerIdentity }),
        servername: isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0 ? url.hostname : '',
        // Said, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        ciphers: meshCiphers,
        maxHeaderSize: 16_384,
        headers: { accept: 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
        signal,
      },
      (answer) => {
        const { headers, statusCode } = answer;
        answer.on('error', reject);
        if (statusCode !== 200) {
          answer.destroy();
          if (redirects.includes(statusCode)) resolve({ location: headers.location });
          else reject(new Error(`it answered ${statusCode}`));
          return;
        }
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBytes) answer.destroy(new Error(`an answer of more than ${maxBytes} bytes`));
          else chunks.push(chunk);
        });
        answer.on('end', () => resolve({ text: Buffer.concat(chunks).toString('utf8') }));
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
