import { isIP } from 'node:net';
import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import { type HeaderInput, type HeaderList, toHeaderList } from '../lib/header-list.ts';
import { currentScope, runInScope } from '../pipeline/scope.ts';
import { asHandler } from './handler.ts';

type Options = Dispatcher.DispatchOptions;
type Handler = Dispatcher.DispatchHandler;

/**
 * Who an origin belongs to: a service of the mesh, to which calls go with the identity of this process; one
 * that the registry knows outside of it; anybody.
 */
export type Nearness = 'mesh' | 'external' | 'unknown';

const steps: Readonly<Record<Nearness, number>> = { mesh: 2, external: 1, unknown: 0 };

/**
 * What one fetch sends, redirects included. fetch takes `authorization` and `cookie` from a request
 * that is redirected to another origin, and knows nothing of what a mesh adds: this takes the rest, and
 * refuses redirects that lead out of TLS, from outside of the mesh into it, or to addresses that only
 * this machine can reach.
 */
export class RedirectGuard {
  readonly #dispatcher: Pick<Dispatcher, 'dispatch'>;
  readonly #nearnessOf: (origin: string) => Nearness;
  #first: URL | undefined;
  /** Where the answer came from that was furthest outside; asked with the first redirect. */
  #furthest: number | undefined;

  constructor(dispatcher: Pick<Dispatcher, 'dispatch'>, nearnessOf: (origin: string) => Nearness = () => 'unknown') {
    this.#dispatcher = dispatcher;
    this.#nearnessOf = nearnessOf;
    this.#first = undefined;
    this.#furthest = undefined;
  }

  dispatch(options: Options, handler: Handler): boolean {
    const first = this.#first;
    if (first === undefined) {
      this.#first = urlOf(options.origin);
      return this.#dispatcher.dispatch(options, handler);
    }
    const next = urlOf(options.origin);
    const reason = this.#whyNotInside(first, next) ?? (next.origin === first.origin ? undefined : whyNot(first, next));
    if (reason !== undefined) {
      const message = `the redirect from ${first.origin} to ${next.origin} is not followed: ${reason}`;
      asHandler(handler as never).onResponseError?.(null as never, new MeshError('ERR_MESH_UNSUPPORTED', message));
      return false;
    }
    if (next.origin === first.origin) return this.#dispatcher.dispatch(options, handler);
    const headers = forStrangers(toHeaderList(options.headers as HeaderInput));
    const send = (): boolean => this.#dispatcher.dispatch({ ...options, headers: headers as string[] }, handler);
    const scope = currentScope();
    if (scope === undefined) return send();
    const { carried: _, ...rest } = scope;
    return runInScope({ ...rest, traceHeaders: forStrangers(scope.traceHeaders) as string[] }, send);
  }

  /** Who is outside has no say in what this process asks of services of the mesh in its own name. */
  #whyNotInside(from: URL, to: URL): string | undefined {
    const nearness = this.#nearnessOf(to.origin);
    const step = steps[nearness];
    if (step > (this.#furthest ?? steps[this.#nearnessOf(from.origin)])) {
      const where = nearness === 'mesh' ? 'a service of it' : 'one that the registry knows';
      return `it leads from outside of the mesh to ${where}`;
    }
    this.#furthest = step;
    return undefined;
  }
}

function urlOf(origin: Options['origin']): URL {
  return origin instanceof URL ? origin : new URL(origin ?? '');
}

function whyNot(from: URL, to: URL): string | undefined {
  if (from.protocol === 'https:' && to.protocol === 'http:') return 'it leads from https: to http:';
  if (isLinkLocal(to.hostname)) return 'it leads to a link-local address';
  if (isLoopback(to.hostname) && !isLoopback(from.hostname)) return 'it leads to this machine';
  return undefined;
}

/** Where clouds keep credentials of the machine: 169.254.0.0/16, fe80::/10, and AWS's fd00:ec2::254. */
function isLinkLocal(host: string): boolean {
  const address = plain(host);
  if (isIP(address) === 4) return address.startsWith('169.254.');
  return isIP(address) === 6 && /^(fe[89ab][0-9a-f]:|fd00:ec2::254$|::ffff:a9fe:)/.test(address);
}

function isLoopback(host: string): boolean {
  const address = plain(host);
  if (isIP(address) === 4) return address.startsWith('127.') || address.startsWith('0.');
  if (isIP(address) === 6) return /^(::1?$|::ffff:(7f[0-9a-f]{2}|0):)/.test(address);
  return address === 'localhost' || address.endsWith('.localhost');
}

/** URLs write IPv6 in brackets, addresses in their shortest form, and leave the last dot of a name. */
function plain(host: string): string {
  const bare = host.startsWith('[') ? host.slice(1, -1) : host;
  return bare.endsWith('.') ? bare.slice(0, -1) : bare;
}

const secrets: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'baggage', 'x-api-key', 'x-auth-token']);
const secretPrefixes = ['x-jwt-', 'x-envoy-', 'x-inmesh-'];

/** Without what says who this process is, who its caller is, or what they may do. */
function forStrangers(headers: HeaderList | readonly string[]): HeaderList {
  const kept: HeaderList = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const lower = name.toLowerCase();
    if (secrets.has(lower) || secretPrefixes.some((prefix) => lower.startsWith(prefix))) continue;
    kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
