import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Credentials } from './source.ts';
import { meshCiphers } from './tls-options.ts';

/** Largest answer of a certificate authority that is read: bundles with their revocation lists, of 1 MiB each. */
const maxAnswerBytes = 4_194_304;

/** One request to a certificate authority. */
export interface AuthorityRequest {
  /** `https://ca.example:8443/`; `path` goes below its own path. */
  readonly url: URL;
  readonly path: string;
  /** PEM; the authority's server certificate must chain to one of these. */
  readonly trustRoots: readonly string[];
  /** JSON to post. Without one it is a GET. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Shown as client certificate. */
  readonly credentials?: Credentials;
  /** For everything from the connection to the last byte. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What it answered. */
export interface AuthorityAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * Asks a certificate authority, over a connection of its own. The server's certificate is verified
 * against `trustRoots` and the host name.
 *
 * @throws MeshError `ERR_MESH_CA` when it cannot be reached or gives no complete answer in time.
 */
export function askAuthority(options: AuthorityRequest): Promise<AuthorityAnswer> {
  const { url, body, credentials } = options;
  // An agent of its own: no connection and no TLS session may outlive the identity that opened it.
  const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(options.path, url),
      {
        method: body === undefined ? 'GET' : 'POST',
        agent,
        ca: [...options.trustRoots],
        ...(credentials === undefined ? {} : { cert: credentials.certificateChainPem, key: credentials.privateKeyPem }),
        // Said, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        ciphers: meshCiphers,
        headers: {
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...options.headers,
        },
        signal: options.signal,
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxAnswerBytes) answer.destroy(new Error(`an answer of more than ${maxAnswerBytes} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', fail);
        answer.on('end', () => {
          stopWaiting();
          const { statusCode = 0, headers } = answer;
          resolve({ status: statusCode, headers, body: Buffer.concat(chunks).toString('utf8') });
        });
      },
    );
    // Covers everything from the connection to the last byte, unlike the socket's idle timeout.
    const stopWaiting = options.clock.after(options.timeoutMs, () =>
      outgoing.destroy(new Error(`no complete answer within ${options.timeoutMs} ms`)),
    );
    function fail(cause: unknown): void {
      stopWaiting();
      const reason = cause instanceof Error ? cause.message : String(cause);
      reject(new MeshError('ERR_MESH_CA', `${url.origin} cannot be reached: ${printable(reason)}`, { cause }));
    }
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

/** What a stranger answered, for logs: one line, bounded. */
export function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 300);
}
