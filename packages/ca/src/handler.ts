import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Clock, Logger } from 'inmesh/identity';
import { type Attestor, attest } from './attest.ts';
import type { Authority, AuthorityBundle } from './authority-types.ts';
import type { BundleRoute } from './bundle-route.ts';
import type { RateLimiter } from './rate-limit.ts';
import { reasonOf, refusal, refusals } from './refusal.ts';

/** Largest body that is read: a certificate request of 16 KiB, a token, and JSON around them. */
const maxBodyBytes = 24_576;

/** From the head of a request until its answer was taken: more than a request for the bundle is held. */
const maxAnswerMs = 90_000;

/** What answers the requests of an authority's server. */
export interface HandlerParts {
  readonly authority: Authority;
  readonly attestors: readonly Attestor[];
  readonly bundles: BundleRoute;
  readonly limiter: RateLimiter;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Answers what {@link serveAuthority} lists, in JSON, also when it refuses. */
export function createHandler(parts: HandlerParts): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const cut = parts.clock.after(maxAnswerMs, () => request.socket.destroy());
    response.once('close', cut);
    answer(parts, request, response).catch((error: unknown) => {
      // Only a response that broke off can get here.
      parts.logger.debug({ error: String(error) }, 'an answer could not be sent');
      response.destroy();
    });
  };
}

async function answer(parts: HandlerParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const remote = request.socket.remoteAddress ?? 'unknown';
  try {
    await route(parts, request, response, remote);
  } catch (error) {
    const reason = reasonOf(error) ?? 'internal';
    const message = reason === 'internal' ? 'the authority failed; see its log' : (error as Error).message;
    const fields = { reason, error: error instanceof Error ? error.message : String(error), remote };
    if (refusals[reason] >= 500) parts.logger.error(fields, 'a request failed');
    // Whoever sends too much must not fill the log with it.
    else if (reason === 'rate_limited') parts.logger.debug(fields, 'a request was refused');
    else parts.logger.warn(fields, 'a request was refused');
    if (reason === 'rate_limited') response.setHeader('retry-after', '1');
    // The rest of a body that is too large is not read: the connection cannot be used again. A small one is, because
    // another handshake costs more than that.
    if (reason === 'too_large' || !(request.complete || isSmall(request))) response.setHeader('connection', 'close');
    send(response, refusals[reason], { error: reason, message });
  }
}

function isSmall({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return length === undefined ? headers['transfer-encoding'] === undefined : Number(length) <= maxBodyBytes;
}

async function route(
  parts: HandlerParts,
  request: IncomingMessage,
  response: ServerResponse,
  remote: string,
): Promise<void> {
  // Before anything else is said: what leads nowhere counts, and is logged, as well.
  if (!parts.limiter.take(remote)) throw refusal('rate_limited', 'too many requests; try again in a second');
  const [path] = (request.url ?? '').split('?', 1);
  const handler = path === undefined || !Object.hasOwn(routes, path) ? undefined : routes[path];
  if (handler === undefined) {
    throw refusal('not_found', 'there is POST /v1/certificates, GET /v1/bundle, GET /v1/crl and GET /healthz');
  }
  if (request.method !== handler.method) throw refusal('method_not_allowed', `${path} takes ${handler.method}`);
  await handler.run(parts, request, response, remote);
}

type Run = (
  parts: HandlerParts,
  request: IncomingMessage,
  response: ServerResponse,
  remote: string,
) => Promise<void> | void;

const routes: Readonly<Record<string, { readonly method: string; readonly run: Run }>> = {
  '/v1/certificates': {
    method: 'POST',
    run: async (parts, request, response, remote) => send(response, 200, await certificates(parts, request, remote)),
  },
  '/v1/bundle': { method: 'GET', run: bundle },
  '/v1/crl': {
    method: 'GET',
    run: ({ authority }, _request, response) =>
      sendText(response, 200, 'application/x-pem-file', authority.crls().join('')),
  },
  '/healthz': {
    method: 'GET',
    run: ({ authority, clock }, _request, response) => {
      if (clock.wallNow() >= authority.signsUntil()) throw refusal('unavailable', 'the authority cannot sign any more');
      send(response, 200, { status: 'ok', trustDomain: authority.trustDomain });
    },
  },
};

async function bundle({ authority, bundles }: HandlerParts, request: IncomingMessage, response: ServerResponse) {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const answered = await bundles.answer(request.headers, (request.socket as TLSSocket).authorized, gone.signal);
  for (const [name, value] of Object.entries(answered.headers)) response.setHeader(name, value);
  if (answered.status === 304) response.writeHead(304).end();
  else send(response, 200, { trustDomain: authority.trustDomain, ...trustOf(authority, answered.bundle) });
}

/** What members trust and no longer trust: by trust domain, as they check it. */
function trustOf({ trustDomain }: Authority, { trustBundles, crls }: AuthorityBundle): object {
  return {
    trustBundles: Object.fromEntries(trustBundles),
    ...(crls.length === 0 ? {} : { crls: { [trustDomain]: crls } }),
  };
}

async function certificates(parts: HandlerParts, request: IncomingMessage, remote: string): Promise<object> {
  const { authority, logger } = parts;
  const { csr, token } = parseBody(await readBody(request));
  // A token, when there is one, decides alone.
  const evidence = token === undefined ? { socket: request.socket as TLSSocket } : { token };
  const attestation = await attest(parts.attestors, evidence);
  const issued = authority.certify(csr, attestation);
  const { spiffeId, serial, notBefore, notAfter } = issued;
  logger.info({ spiffeId, serial, remote, by: attestation.by }, 'issued a certificate');
  return {
    spiffeId,
    certificateChain: issued.certificateChainPem,
    ...trustOf(authority, authority.bundle()),
    notBefore,
    notAfter,
  };
}

function parseBody(text: string): { readonly csr: string; readonly token: string | undefined } {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw refusal('bad_request', 'the body is not JSON');
  }
  const { csr, token } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  if (typeof csr !== 'string') throw refusal('bad_request', 'expected {"csr": "<PEM>", "token": "<token>"}');
  if (token !== undefined && typeof token !== 'string') throw refusal('bad_request', 'expected a token that is text');
  return { csr, token };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw refusal('too_large', `a body of more than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, body: object): void {
  sendText(response, status, 'application/json', JSON.stringify(body));
}

function sendText(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}
