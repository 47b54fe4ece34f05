import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Who may ask. */
export interface GuardOptions {
  /**
   * Names by which browsers may reach the endpoints, with or without a port: `admin.shop.svc`. Always allowed:
   * `localhost`, and IP addresses, to which no name of an attacker can be rebound.
   */
  readonly allowedHosts?: readonly string[];
  /** Whoever asks for anything but health has to send `authorization: Bearer <token>`. Default: nobody has to. */
  readonly token?: string;
}

/** Why a request is refused. */
export interface Refusal {
  readonly status: 400 | 401 | 403;
  readonly message: string;
}

/** Decides about a request before anything else does; nothing: it may pass. `open`: no token is needed. */
export type Guard = (request: IncomingMessage, open: boolean) => Refusal | undefined;

/** @throws TypeError for a token that is too short to be one, and for hosts that are none. */
export function createGuard({ allowedHosts = [], token }: GuardOptions): Guard {
  if (token !== undefined && !/^[\x21-\x7e]{16,}$/.test(token)) {
    throw new TypeError('token: must be 16 or more characters of ASCII without spaces');
  }
  const hosts = new Set<string>();
  for (const host of allowedHosts) {
    const name = hostNameOf(host);
    if (name === undefined) throw new TypeError(`allowedHosts: must be names of hosts, got ${JSON.stringify(host)}`);
    hosts.add(name);
  }
  const wanted = token === undefined ? undefined : digest(`Bearer ${token}`);
  return (request, open) => {
    const { headers } = request;
    // DNS rebinding: a page of evil.example, whose name now leads here, still says evil.example.
    const { host = '' } = headers;
    const name = hostNameOf(host);
    if (name === undefined) return { status: 400, message: 'no valid Host header' };
    if (name !== 'localhost' && isIP(name) === 0 && !hosts.has(name)) {
      return { status: 403, message: `host ${JSON.stringify(name)} is not among allowedHosts` };
    }
    // CSRF: other sites may send requests, but browsers say who they are.
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none') {
      return { status: 403, message: 'requests of other sites are refused' };
    }
    const { origin } = headers;
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      return { status: 403, message: 'requests of other origins are refused' };
    }
    if (wanted !== undefined && !open && !timingSafeEqual(wanted, digest(headers.authorization ?? ''))) {
      return { status: 401, message: 'a token is needed' };
    }
    return undefined;
  };
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Host without its port, lower case, IPv6 without brackets; nothing when it is none. */
function hostNameOf(host: string): string | undefined {
  const found = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::\d{1,5})?$/i.exec(host);
  const [, address, name] = found ?? [];
  if (address !== undefined) return isIP(address) === 6 ? address.toLowerCase() : undefined;
  return name?.toLowerCase().replace(/\.$/, '');
}
