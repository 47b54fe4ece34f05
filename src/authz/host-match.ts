import { canonicalAddress } from '../lib/ip-address.ts';
import { compileStringMatch, type StringMatch } from '../model/string-match.ts';

/** The host that a caller named: lower case, without the final dot of an absolute name. */
export interface HostView {
  readonly name: string;
  /** With its port, when the caller named one. */
  readonly withPort: string;
  /** The same address of IPv6 as others write it: `[::1]` for `[0:0:0:0:0:0:0:1]`. */
  readonly other: HostView | undefined;
}

/** Brings a Host header to one form. */
export function hostView(host: string): HostView {
  const lower = host.toLowerCase();
  const colon = lower.lastIndexOf(':');
  const hasPort = colon > lower.lastIndexOf(']');
  const name = withoutDot(hasPort ? lower.slice(0, colon) : lower);
  const port = hasPort ? lower.slice(colon) : '';
  return { name, withPort: name + port, other: otherView(name, port) };
}

function otherView(name: string, port: string): HostView | undefined {
  if (name.charCodeAt(0) !== 0x5b || !name.endsWith(']')) return undefined;
  const address = canonicalAddress(name.slice(1, -1));
  if (address === undefined) return undefined;
  const other = address.includes(':') ? `[${address}]` : address;
  return other === name ? undefined : { name: other, withPort: other + port, other: undefined };
}

/**
 * Compiles a list of `hosts`: case does not count, and an entry without a port matches any port.
 * Istio alone would want `host:*` beside it, and whoever forgets that has a hole.
 *
 * @param views an address of IPv6 matches however it is written; without it as in Istio, as text
 */
export function compileHosts(matches: readonly StringMatch[], views: boolean): (host: HostView) => boolean {
  const all = matches.flatMap((match) => compileHost(match, views));
  const any = (host: HostView): boolean => all.some((matchesHost) => matchesHost(host));
  return views ? (host) => any(host) || (host.other !== undefined && any(host.other)) : any;
}

function compileHost(match: StringMatch, views: boolean): readonly ((host: HostView) => boolean)[] {
  if (match.kind === 'present') return [({ name }) => name !== ''];
  if (match.kind === 'regex') {
    const matches = compileStringMatch({ kind: 'regex', value: `(?i)${match.value}` });
    return [({ name, withPort }) => matches(name) || matches(withPort)];
  }
  if (match.kind === 'prefix') {
    const matches = compileStringMatch({ kind: 'prefix', value: match.value.toLowerCase() });
    return [({ name, withPort }) => matches(name) || matches(withPort)];
  }
  // What ends a pattern ends a host: it is brought to the same form.
  const { other, withPort: own } = hostView(match.value);
  const values = views && match.kind === 'exact' && other !== undefined ? [own, other.withPort] : [own];
  return values.map((value) => {
    const matches = compileStringMatch({ kind: match.kind, value });
    // `[::1]` has colons, too; only one after the bracket begins a port.
    const hasPort = value.lastIndexOf(':') > value.lastIndexOf(']');
    return hasPort ? ({ withPort }) => matches(withPort) : ({ name }) => matches(name);
  });
}

function withoutDot(name: string): string {
  return name.length > 1 && name.endsWith('.') ? name.slice(0, -1) : name;
}
