import type { LookupAddress, LookupAllOptions } from 'node:dns';
import { lookup as systemLookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
// As a whole: older versions of Node.js lack one of its functions, and are to be told which version is needed.
import * as tls from 'node:tls';
import { Client, type Dispatcher } from 'undici';
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
  /** How names become addresses. Default: as the system does. */
  readonly lookup?: LookupAll;
  /** The mesh itself, for what its services serve. */
  readonly mesh?: MeshRoute;
}

/** All addresses of a name. */
export type LookupAll = (
  host: string,
  options: LookupAllOptions,
  callback: (error: Error | null, found: LookupAddress[]) => void,
) => void;

/** The way through the mesh: its routes, its mutual TLS. */
export interface MeshRoute {
  readonly dispatcher: Dispatcher;
  /** Whether `host:port` is one of its services. */
  knows(host: string): boolean;
  /** Resolves when there is what calls need. */
  ready(): Promise<unknown>;
}

/**
 * Fetches documents, each over a connection of its own: nothing of an earlier answer is left on it.
 * Certificates are verified whatever the environment says (`NODE_TLS_REJECT_UNAUTHORIZED`), redirects
 * are refused, and addresses where clouds tell secrets to who asks from inside are never called. An
 * http URL of a service of the mesh is asked through the mesh, which speaks mutual TLS with it.
 */
export function createDocumentFetch(options: DocumentFetchOptions): FetchDocument {
  const { clock, lookup = systemLookup, mesh } = options;
  const contextOf = trusting(options.rootsFile);
  return async (asked) => {
    const url = new URL(asked.url);
    const refused = whyNoAddress(url.hostname.replace(/^\[|\]$/g, ''), asked.loopback);
    if (refused !== undefined) throw new Error(refused);
    if (url.protocol === 'http:' && mesh?.knows(`${url.hostname}:${url.port || 80}`) === true) {
      return receive(url, asked, clock, mesh.dispatcher, mesh.ready());
    }
    const client = new Client(url.origin, {
      connect: {
        lookup: guardedLookup(lookup, asked.loopback),
        timeout: asked.timeoutMs,
        ...(url.protocol === 'https:' ? { secureContext: contextOf(), rejectUnauthorized: true } : {}),
      },
      allowH2: false,
      maxCachedSessions: 0,
      maxHeaderSize: maxHeaderBytes,
      // All of it has one time limit.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    try {
      return await receive(url, asked, clock, client);
    } finally {
      void client.destroy();
    }
  };
}

function receive(
  { origin, pathname, search }: URL,
  { signal, timeoutMs }: DocumentRequest,
  clock: Clock,
  dispatcher: Dispatcher,
  ready?: Promise<unknown>,
): Promise<FetchedDocument> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let maxAgeMs: number | undefined;
    let over = false;
    let controller: Dispatcher.DispatchController | undefined;
    const end = (): boolean => {
      if (over) return false;
      over = true;
      stopWaiting();
      signal.removeEventListener('abort', aborted);
      return true;
    };
    // Without a cause: undici's holds what was received.
    const fail = (reason: string): void => {
      if (!end()) return;
      reject(new Error(reason));
      controller?.abort(new Error(reason));
    };
    const aborted = (): void => fail('nobody needs it any more');
    const stopWaiting = clock.after(timeoutMs, () => fail(`no complete answer within ${timeoutMs} ms`));
    signal.addEventListener('abort', aborted);
    if (signal.aborted) return aborted();
    const headers = ['accept', 'application/json', 'user-agent', 'inmesh'];
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        if (over) started.abort(new Error('over'));
      },
      onResponseStart(_controller, status, given) {
        if (status < 200) return;
        if (status >= 300 && status < 400) fail(`it redirects (status ${status}), which is not followed`);
        else if (status >= 300) fail(`status ${status}`);
        else maxAgeMs = maxAgeOf(given['cache-control']);
      },
      onResponseData(_controller, chunk) {
        size += chunk.length;
        if (size > maxDocumentBytes) fail(`more than ${maxDocumentBytes} bytes`);
        else if (!over) chunks.push(chunk);
      },
      onResponseEnd() {
        if (!end()) return;
        const text = Buffer.concat(chunks).toString('utf8');
        resolve(maxAgeMs === undefined ? { text } : { text, maxAgeMs });
      },
      onResponseError(_controller, error) {
        fail(inWords(error));
      },
    };
    const dispatch = (): void => {
      if (!over) dispatcher.dispatch({ origin, path: `${pathname}${search}`, method: 'GET', headers }, handler);
    };
    if (ready === undefined) dispatch();
    else ready.then(dispatch, (error: Error) => fail(inWords(error)));
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
function trusting(rootsFile: string | undefined): () => tls.SecureContext {
  const common = { minVersion: 'TLSv1.2', ciphers: meshCiphers } as const;
  let context: tls.SecureContext | undefined;
  let seen: string | undefined;
  return () => {
    if (rootsFile === undefined) {
      context ??= tls.createSecureContext(common);
      return context;
    }
    const text = readFileSync(rootsFile, 'utf8');
    if (context === undefined || text !== seen) {
      // Node skips what is not PEM without a word.
      if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${rootsFile} holds no PEM certificate`);
      context = tls.createSecureContext({ ...common, ca: [...tls.getCACertificates('default'), text] });
      seen = text;
    }
    return context;
  };
}

/** Refuses a name that leads where no document may come from; the connection goes to the very address that was looked at. */
function guardedLookup(lookup: LookupAll, loopback: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
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
