import type { HeaderList } from '../lib/header-list.ts';

/** A request to explain. What is absent has the default of a plain `GET http://<authority>/`. */
export interface ExplainRequest {
  /** Scheme, authority and path in one: `http://reviews:9080/reviews/1`. The fields of these go before it. */
  readonly url?: string;
  /** `http` (default) or `https`. */
  readonly scheme?: string;
  /** Default `GET`. */
  readonly method?: string;
  /** Host, with or without a port. */
  readonly authority?: string;
  /** With its query. Default `/`. */
  readonly path?: string;
  /** Names and values; in a list a name may be there more than once. */
  readonly headers?: Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];
  /** Port of the service. Default: that of the authority, else that of the scheme. */
  readonly port?: number;
  /**
   * How the caller speaks. `tcp`: bytes that the mesh does not read. Absent with scheme `https`:
   * the application encrypts by itself.
   */
  readonly protocol?: ExplainProtocol;
  /** In [0, 1): decides every weighted and percentage choice. Default 0. */
  readonly random?: number;
  /** The caller, for inbound requests. */
  readonly from?: ExplainCaller;
  /** The server. */
  readonly to?: ExplainServer;
  /** How the caller's connection is protected. Default `mtls` when the caller has an identity, else `plaintext`. */
  readonly tls?: ExplainTls;
  /** Server name that a TLS client asks for. */
  readonly sni?: string;
  /** Inbound: when it arrives, milliseconds since the epoch, for tokens that expire. Default: now. */
  readonly nowMs?: number;
  /** Verified claims of the caller's token; for inbound requests only if their own tokens give none. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

export type ExplainProtocol = 'http' | 'http2' | 'grpc' | 'tcp';
export type ExplainTls = 'mtls' | 'tls' | 'plaintext';

export interface ExplainCaller {
  /** SPIFFE ID, with or without `spiffe://`. Default: made of namespace and service account. */
  readonly principal?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly ip?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface ExplainServer {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly host?: string;
  readonly ip?: string;
  /** Port that the workload listens on. */
  readonly port?: number;
}

/** A request with its defaults filled in. */
export interface OutboundQuestion {
  readonly scheme: string;
  readonly method: string;
  /** As the caller wrote it; '' when it named none. */
  readonly authority: string;
  /** Host of the authority, lower case, IPv6 in brackets. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: HeaderList;
  readonly protocol: ExplainProtocol;
  /** The application speaks TLS by itself. */
  readonly ownTls: boolean;
  readonly random: number;
  readonly sni: string | undefined;
  readonly destinationIp: string | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
  /** SPIFFE ID of whoever caused this call, for splits that follow the caller. */
  readonly caller: string | undefined;
}

/** Takes `url` apart; a text when it is none. */
export function withoutUrl(request: ExplainRequest): ExplainRequest | string {
  const { url, ...rest } = request;
  if (url === undefined) return request;
  const parts = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(url);
  if (parts === null) return `not an http or https URL: ${JSON.stringify(url)}`;
  const [, scheme = '', authority = '', path = ''] = parts;
  return { scheme: scheme.toLowerCase(), authority, path: path.startsWith('/') ? path : `/${path}`, ...rest };
}

const spiffe = 'spiffe://';

/** Fills in the defaults, or says why this cannot be a request. */
export function questionOf(given: ExplainRequest): OutboundQuestion | string {
  const request = withoutUrl(given);
  if (typeof request === 'string') return request;
  const { from: { principal } = {}, headers = [], protocol = 'http', to = {} } = request;
  const scheme = (request.scheme ?? 'http').toLowerCase();
  const authority = request.authority ?? to.host ?? (protocol === 'tcp' ? (request.sni ?? to.ip ?? '') : (to.ip ?? ''));
  const split = splitAuthority(authority);
  if (split === undefined) return `the authority is not a host: ${JSON.stringify(authority)}`;
  const port = request.port ?? split.port ?? (scheme === 'https' ? 443 : 80);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return `the port must be from 1 to 65535, got ${port}`;
  const { random = 0, path = '/' } = request;
  if (!(random >= 0 && random < 1)) return `random must be at least 0 and less than 1, got ${random}`;
  if (protocol !== 'tcp' && !path.startsWith('/') && path !== '*') return 'the path must begin with /';
  return {
    scheme,
    method: request.method ?? 'GET',
    authority: authority === to.ip && authority.includes(':') ? `[${authority}]` : authority,
    host: split.host,
    port,
    path,
    headers: (Array.isArray(headers) ? headers : Object.entries(headers)).flat(),
    protocol,
    ownTls: scheme === 'https' && request.protocol === undefined,
    random,
    sni: request.sni,
    destinationIp: to.ip,
    claims: request.claims ?? {},
    caller: principal === undefined || principal.startsWith(spiffe) ? principal : spiffe + principal,
  };
}

/** `reviews:9080` is a host and a port; `[::1]` and `::1` are hosts. Nothing when it is neither. */
function splitAuthority(authority: string): { readonly host: string; readonly port: number | undefined } | undefined {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:[\]@/?#\\\s]+)(?::([0-9]{1,5}))?$/.exec(authority);
  if (parts === null) {
    return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(authority)
      ? { host: `[${authority.toLowerCase()}]`, port: undefined }
      : undefined;
  }
  const [, host = '', port] = parts;
  return { host: host.toLowerCase(), port: port === undefined ? undefined : Number(port) };
}
