import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { Client } from 'undici';
import { meshCiphers } from '../identity/tls-options.ts';
import type { Clock } from '../lib/clock.ts';
import { whyNoAddress } from '../lib/special-addresses.ts';

/** A small document that the configuration names: keys of an issuer, or where they are. */
export interface DocumentRequest {
  /** `http:` or `https:`, never taken from a request or a token. */
  readonly url: string;
  /** From looking up the name to the last byte, milliseconds. */
  readonly timeoutMs: number;
  /** Whether it may be on this host. */
  readonly loopback: boolean;
  readonly signal: AbortSignal;
}

export interface FetchedDocument {
  readonly text: string;
  /** How long it may be kept, says the `max-age` of its `cache-control`. */
  readonly maxAgeMs?: number;
}

/** @throws Error in words that quote nothing of what was fetched */
export type FetchDocument = (request: DocumentRequest) => Promise<FetchedDocument>;

/** Largest document that is read, bytes: a set of 100 large keys with certificates stays far below. */
export const maxDocumentBytes = 1_048_576;

const maxHeaderBytes = 16_384;

export interface DocumentFetchOptions {
  readonly clock: Clock;
  /** PEM file with roots to trust beside those that Node.js trusts. Read anew for every document. */
  readonly rootsFile?: string | undefined;
}

/**
 * Fetches documents, each over a connection of its own: nothing of an earlier answer is left on it.
 * Certificates are verified whatever the environment says (`NODE_TLS_REJECT_UNAUTHORIZED`), redirects
 * are refused, and addresses where clouds tell secrets to who asks from inside are never called.
 */
export function createDocumentFetch({ clock, rootsFile }: DocumentFetchOptions): FetchDocument {
  const contextOf = trusting(rootsFile);
  return ({ loopback, signal, timeoutMs, url }) =>
    new Promise((resolve, reject) => {
      const { hostname, origin, pathname, protocol, search } = new URL(url);
      const refused = whyNoAddress(hostname.replace(/^\[|\]$/g, ''), loopback);
      if (refused !== undefined) throw new Error(refused);
      const client = new Client(origin, {
        connect: {
          lookup: guardedLookup(loopback),
          timeout: timeoutMs,
          ...(protocol === 'https:' ? { secureContext: contextOf(), rejectUnauthorized: true } : {}),
        },
        allowH2: false,
        maxCachedSessions: 0,
        maxHeaderSize: maxHeaderBytes,
        // All of it has one time limit.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      const chunks: Buffer[] = [];
      let size = 0;
      let maxAge: number | undefined;
      let over = false;
      const end = (): boolean => {
        if (over) return false;
        over = true;
        stopWaiting();
        signal.removeEventListener('abort', aborted);
        void client.destroy();
        return true;
      };
      // Without a cause: undici's holds what was received.
      const fail = (reason: string): void => {
        if (end()) reject(new Error(reason));
      };
      const aborted = (): void => fail('nobody needs it any more');
      const stopWaiting = clock.after(timeoutMs, () => fail(`no complete answer within ${timeoutMs} ms`));
      signal.addEventListener('abort', aborted);
      if (signal.aborted) return aborted();
      const headers = ['accept', 'application/json', 'user-agent', 'inmesh'];
      client.dispatch(
        { path: `${pathname}${search}`, method: 'GET', headers },
        {
          onRequestStart() {
            // Required by undici.
          },
          onResponseStart(_controller, status, given) {
            if (status < 200) return;
            if (status >= 300 && status < 400) fail(`it redirects (status ${status}), which is not followed`);
            else if (status >= 300) fail(`status ${status}`);
            else maxAge = maxAgeOf(given['cache-control']);
          },
          onResponseData(_controller, chunk) {
            size += chunk.length;
            if (size > maxDocumentBytes) fail(`more than ${maxDocumentBytes} bytes`);
            else if (!over) chunks.push(chunk);
          },
          onResponseEnd() {
            if (!end()) return;
            const text = Buffer.concat(chunks).toString('utf8');
            resolve(maxAge === undefined ? { text } : { text, maxAgeMs: maxAge });
          },
          onResponseError(_controller, error) {
            fail(inWords(error));
          },
        },
      );
    });
}

/** What OpenSSL, the resolver and the kernel say quotes no answer; what a parser of HTTP says might. */
function inWords(error: Error): string {
  if (error.name === 'HTTPParserError') return 'not an answer of HTTP';
  return error.message.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 300);
}

/** Seconds of the first `max-age` (RFC 9111 section 5.2.2.1), as milliseconds. */
function maxAgeOf(header: string | string[] | undefined): number | undefined {
  const found = /(?:^|,)\s*max-age="?(\d{1,9})"?\s*(?:,|$)/i.exec(String(header ?? ''));
  return found === null ? undefined : Number(found[1]) * 1_000;
}

/** The context is made once for one content of the file. */
function trusting(rootsFile: string | undefined): () => SecureContext {
  const common = { minVersion: 'TLSv1.2', ciphers: meshCiphers } as const;
  let context: SecureContext | undefined;
  let seen: string | undefined;
  return () => {
    if (rootsFile === undefined) {
      context ??= createSecureContext(common);
      return context;
    }
    const text = readFileSync(rootsFile, 'utf8');
    if (context === undefined || text !== seen) {
      // Node skips what is not PEM without a word.
      if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${rootsFile} holds no PEM certificate`);
      context = createSecureContext({ ...common, ca: [...getCACertificates('default'), text] });
      seen = text;
    }
    return context;
  };
}

/** Refuses a name that leads where no document may come from; the connection goes to the very address that was looked at. */
function guardedLookup(loopback: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
      if (error !== null) return callback(error, [] as never);
      for (const { address } of found) {
        const refused = whyNoAddress(address, loopback);
        if (refused !== undefined) return callback(new Error(`${hostname} is ${address}: ${refused}`), [] as never);
      }
      const [first] = found;
      if (options.all === true) callback(null, found);
      else if (first === undefined) callback(new Error(`${hostname} has no address`), [] as never);
      else callback(null, first.address, first.family);
    });
  };
}
