import type { Workload } from 'inmesh/model';

/** A domain of a virtual host, taken apart. */
export interface Domain {
  /** As keys of the host table have it: IPv6 in brackets, without a dot at its end. */
  readonly host: string;
  readonly port?: number;
}

/** `reviews:9080`, `[::1]:80`, `fd00::1`, `*.example.com`. */
export function domainOf(text: string): Domain {
  const bracket = text.startsWith('[') ? text.indexOf(']') : -1;
  const colon = bracket === -1 ? text.indexOf(':') : text.indexOf(':', bracket);
  // An address of IPv6 without brackets has no port.
  const bare = bracket === -1 && colon !== text.lastIndexOf(':');
  if (bare) return { host: `[${text}]` };
  if (colon === -1) return { host: withoutDot(text) };
  const port = Number(text.slice(colon + 1));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return { host: text };
  return { host: withoutDot(text.slice(0, colon)), port };
}

function withoutDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/** Shorter names of a service of the cluster; the shortest only inside its own namespace. */
export function shortNames(host: string, { clusterDomain, namespace }: Workload): readonly string[] {
  const suffix = `.svc.${clusterDomain}`;
  if (!host.endsWith(suffix)) return [];
  const base = host.slice(0, -suffix.length);
  const [name = '', ...rest] = base.split('.');
  if (rest.length === 0 || host.startsWith('*')) return [];
  return [...(rest.join('.') === namespace ? [name] : []), base, `${base}.svc`];
}

/**
 * The virtual host for an authority, as Envoy and gRPC choose it: its name, then wildcards at the
 * beginning, then at the end, longest first, then `*`.
 */
export function bestDomain<T>(
  hosts: readonly { readonly domains: readonly string[]; readonly value: T }[],
  authority: string,
): T | undefined {
  let best: { readonly rank: number; readonly length: number; readonly value: T } | undefined;
  for (const { domains, value } of hosts) {
    for (const domain of domains) {
      const rank = rankOf(domain, authority);
      if (rank === 0) continue;
      const { length } = domain;
      if (best === undefined || rank > best.rank || (rank === best.rank && length > best.length)) {
        best = { rank, length, value };
      }
    }
  }
  return best?.value;
}

function rankOf(domain: string, authority: string): 0 | 1 | 2 | 3 | 4 {
  if (domain === authority) return 4;
  if (domain === '*') return 1;
  if (domain.startsWith('*')) return isLonger(domain, authority) && authority.endsWith(domain.slice(1)) ? 3 : 0;
  if (domain.endsWith('*')) return isLonger(domain, authority) && authority.startsWith(domain.slice(0, -1)) ? 2 : 0;
  return 0;
}

/** The star stands for something. */
function isLonger(domain: string, authority: string): boolean {
  return authority.length >= domain.length;
}
