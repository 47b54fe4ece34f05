import { readFile } from 'node:fs/promises';
import { MeshError } from '../errors.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { type OptionNames, refuseUnknownOptions } from '../lib/known-options.ts';
import { type Random, systemRandom } from '../lib/random.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import { type Workload, workloadSpiffeId } from '../model/workload.ts';
import { watchBundle } from './ca-bundle.ts';
import { type AuthorityTrust, type CertificateAnswer, requestCertificate } from './ca-client.ts';
import { checkCredentials, credentialsOf } from './credentials.ts';
import { createCsr, generateIdentityKey } from './csr.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials, IdentitySink, IdentitySource } from './source.ts';
import { verifyPeer } from './verify-peer.ts';
import { waitFor } from './wait.ts';

/** Options of {@link caSource}. */
export interface CaSourceOptions {
  /** Where the authority serves: `https://127.0.0.1:8443`. */
  readonly url: string;
  /** The authority's root: PEM text, or the path of a PEM file, read anew for every request. */
  readonly trustRoot: string;
  /** Who this process is. One of the two is needed. */
  readonly workload?: Workload;
  readonly spiffeId?: string;
  /** Join token for the first certificate. Renewals prove themselves with the certificate in hand. */
  readonly token?: string;
  /** File with the join token, read anew whenever one is needed. */
  readonly tokenFile?: string;
  /** Share of a certificate's life after which it is renewed, less up to a tenth at random. Default 0.5. */
  readonly renewAtShare?: number;
  /**
   * Whether to hear of changes of the trust bundle at once: with a request that the authority holds
   * until there is one. Default true. Without, they come with the next certificate.
   */
  readonly watchBundle?: boolean;
  /** Time for one request, milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

const optionNames: OptionNames<CaSourceOptions> = {
  url: true,
  trustRoot: true,
  workload: true,
  spiffeId: true,
  token: true,
  tokenFile: true,
  renewAtShare: true,
  watchBundle: true,
  timeoutMs: true,
  clock: true,
  random: true,
};

const firstBackoffMs = 50;
const maxBackoffMs = 60_000;
/** A process that has no certificate starts within two seconds of the authority. */
const maxBackoffWithoutMs = 1_500;

/**
 * Certificates from an inmesh certificate authority (`@inmesh/ca`). Makes a key, asks with a join
 * token, and renews well before expiry with the certificate in hand; when that has expired, with
 * the token again. The key is made anew every time and never leaves the process. Failures are
 * reported and tried again, after 50 ms at first and up to a minute later on.
 *
 * Changes of the trust bundle and of revocation lists are heard of within about a second. When the
 * root of the certificate in hand is gone from the bundle, a new certificate is asked for at once.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that can never work.
 *
 * @example
 * caSource({ url: 'https://127.0.0.1:8443', trustRoot: './ca/root.pem', spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', token });
 */
export function caSource(options: CaSourceOptions): IdentitySource {
  refuseUnknownOptions('caSource', options, optionNames);
  const { clock = systemClock, random = systemRandom, renewAtShare = 0.5, timeoutMs = 30_000 } = options;
  const url = authorityUrl(options.url);
  const spiffeId = options.spiffeId ?? (options.workload && workloadSpiffeId(options.workload));
  if (spiffeId === undefined) throw invalid('spiffeId', 'one of workload and spiffeId is needed');
  if (!(renewAtShare > 0 && renewAtShare < 1)) throw invalid('renewAtShare', 'expected more than 0 and less than 1');
  if (options.token === undefined && options.tokenFile === undefined) {
    throw invalid('token', 'one of token and tokenFile is needed for the first certificate');
  }

  /** Still good for proving who we are. Should it end on the way, the answer is 401, and the token is tried. */
  const usable = (held: Credentials | undefined): held is Credentials =>
    held !== undefined && clock.wallNow() < held.notAfter;

  /** With the certificate in hand, or with a token; either way the roots that came with it count. */
  const ask = async (
    by: 'certificate' | 'token',
    held: Credentials | undefined,
    signal: AbortSignal,
  ): Promise<CertificateAnswer> => {
    const key = generateIdentityKey();
    const answer = await requestCertificate({
      url,
      trustRoots: await readRoots(options.trustRoot, held),
      csrPem: createCsr(spiffeId, key),
      privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      proof: by === 'certificate' && held !== undefined ? { credentials: held } : { token: await readToken(options) },
      timeoutMs,
      clock,
      signal,
    });
    if ('credentials' in answer) checkCredentials(answer.credentials, { now: clock.wallNow(), spiffeId });
    return answer;
  };

  const obtain = async (held: Credentials | undefined, signal: AbortSignal): Promise<CertificateAnswer> => {
    if (!usable(held)) return ask('token', held, signal);
    const answer = await ask('certificate', held, signal);
    // An authority that lost its root knows our certificate no longer; a token may still serve.
    if (!('status' in answer) || (answer.status !== 401 && answer.status !== 403)) return answer;
    const second = await ask('token', held, signal);
    return 'credentials' in second ? second : answer;
  };

  const run = async (sink: IdentitySink, signal: AbortSignal): Promise<void> => {
    let held: Credentials | undefined;
    let failures = 0;
    /** The newest bundle that was heard of: an answer to a request for a certificate may be older. */
    let heard: AuthorityTrust | undefined;
    let wakeUp = (): void => {};
    const sleep = async (ms: number): Promise<void> => {
      const nap = new AbortController();
      wakeUp = () => nap.abort();
      signal.addEventListener('abort', wakeUp);
      if (!signal.aborted) await waitFor(clock, ms, nap.signal);
      signal.removeEventListener('abort', wakeUp);
    };

    let watching: Promise<void> | undefined;
    const watch = (): Promise<void> => {
      let trouble = false;
      return watchBundle(
        {
          url,
          trustRoots: () => readRoots(options.trustRoot, held),
          credentials: () => held,
          timeoutMs,
          clock,
          random,
          heard: (trust) => {
            heard = trust;
            if (held === undefined) return;
            const before = held;
            try {
              held = withTrust(before, trust);
              checkCredentials(held, { now: clock.wallNow(), spiffeId });
            } catch (error) {
              held = before;
              sink.reject(error instanceof Error ? error : new MeshError('ERR_MESH_CA', String(error)));
              return;
            }
            if (!trouble && sameTrust(before, held)) return;
            trouble = false;
            sink.update(held);
            if (chains(before, clock) && !chains(held, clock)) wakeUp();
          },
          troubled: (problem) => {
            trouble = true;
            heard = undefined;
            sink.lost(problem);
          },
        },
        signal,
      );
    };
    /** Reports what happened and says how long to wait until the next attempt. */
    const attempt = async (): Promise<number> => {
      let transient = true;
      try {
        const answer = await obtain(held, signal);
        if (signal.aborted) return 0;
        if ('credentials' in answer) {
          held = heard === undefined ? answer.credentials : withTrust(answer.credentials, heard);
          failures = 0;
          sink.update(held);
          if (options.watchBundle !== false) watching ??= watch();
          // Jitter only ever renews earlier: a healthy process is done before half of the life is over.
          return (held.notAfter - clock.wallNow()) * renewAtShare * (1 - random() / 10);
        }
        transient = answer.status >= 500 || answer.status === 429;
        if (transient) sink.lost(answer.problem);
        else sink.reject(answer.problem);
      } catch (error) {
        if (signal.aborted) return 0;
        const problem = error instanceof Error ? error : new MeshError('ERR_MESH_CA', String(error));
        transient = problem instanceof MeshError && problem.code === 'ERR_MESH_CA';
        if (transient) sink.lost(problem);
        else sink.reject(problem);
      }
      // Without an identity nothing works, so look often; with one, do not let a tenth of its rest pass.
      const left = usable(held)
        ? (held.notAfter - clock.wallNow()) / 10
        : transient
          ? maxBackoffWithoutMs
          : maxBackoffMs;
      const ceiling = Math.max(firstBackoffMs, Math.min(maxBackoffMs, left));
      return Math.min(ceiling, firstBackoffMs * 2 ** Math.min(failures++, 20)) * (0.5 + random() / 2);
    };
    while (!signal.aborted) await sleep(await attempt());
    await watching;
  };

  return { name: `ca:${url.origin}`, run };
}

/** The same certificate with another bundle. @throws MeshError when the bundle cannot be read */
function withTrust({ certificateChainPem, privateKeyPem }: Credentials, trust: AuthorityTrust): Credentials {
  return credentialsOf({ certificateChainPem, privateKeyPem, ...trust });
}

function sameTrust(a: Credentials, b: Credentials): boolean {
  const text = ({ trustBundles, crlsByTrustDomain }: Credentials): string =>
    JSON.stringify([[...trustBundles], [...(crlsByTrustDomain ?? [])]]);
  return text(a) === text(b);
}

/** Whether those who have this bundle accept this certificate. */
function chains({ certificateChainPem, trustBundles }: Credentials, clock: Clock): boolean {
  try {
    verifyPeer(readPemCertificates(certificateChainPem, 'certificate chain'), trustBundles, clock.wallNow());
    return true;
  } catch {
    return false;
  }
}

function authorityUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'https:') throw invalid('url', 'expected an https URL', text);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw invalid('url', 'expected an https URL without user, query and fragment');
  }
  // So that `new URL('v1/…', url)` goes below a path and does not replace it.
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

function invalid(option: string, reason: string, value?: string): MeshError {
  const given = value === undefined ? '' : `, not ${JSON.stringify(value.slice(0, 200))}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', `caSource: ${option}: ${reason}${given}`);
}

/** The configured root, and the roots of our own trust domain as last received: the authority may have a new one. */
async function readRoots(trustRoot: string, held: Credentials | undefined): Promise<readonly string[]> {
  const text = trustRoot.includes('-----BEGIN') ? trustRoot : await readText(trustRoot, 'the root of the authority');
  const roots = readPemCertificates(text, 'the root of the authority').map((root) => root.toString());
  const known = held?.trustBundles.get(parseSpiffeId(held.spiffeId).trustDomain) ?? [];
  return [...new Set([...roots, ...known])];
}

async function readToken({ token, tokenFile }: CaSourceOptions): Promise<string> {
  if (tokenFile === undefined) return token ?? '';
  return (await readText(tokenFile, 'the join token')).trim();
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_MESH_CA', `${what} cannot be read: ${reason}`, { cause });
  }
}
