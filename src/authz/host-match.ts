import { compileStringMatch, type StringMatch } from '../model/string-match.ts';

/** The host that a caller named: lower case, without the final dot of an absolute name. */
export interface HostView {
  readonly name: string;
  /** With its port, when the caller named one. */
  readonly withPort: string;
}

/** Brings a Host header to one form. */
export function hostView(host: string): HostView {
  const lower = host.toLowerCase();
  const colon = lower.lastIndexOf(':');
  const hasPort = colon > lower.lastIndexOf(']');
  const name = withoutDot(hasPort ? lower.slice(0, colon) : lower);
  return { name, withPort: hasPort ? name + lower.slice(colon) : name };
}

/**
 * Compiles a list of `hosts`: case does not count, and an entry without a port matches any port.
 * Istio alone would want `host:*` beside it, and whoever forgets that has a hole.
 */
export function compileHosts(matches: readonly StringMatch[]): (host: HostView) => boolean {
  const all = matches.map(compileHost);
  return (host) => all.some((matchesHost) => matchesHost(host));
}

function compileHost(match: StringMatch): (host: HostView) => boolean {
  if (match.kind === 'present') return ({ name }) => name !== '';
  if (match.kind === 'regex') {
    const matches = compileStringMatch({ kind: 'regex', value: `(?i)${match.value}` });
    return ({ name, withPort }) => matches(name) || matches(withPort);
  }
  // What ends a pattern ends a host: it is brought to the same form.
  const value = match.kind === 'prefix' ? match.value.toLowerCase() : hostView(match.value).withPort;
  const matches = compileStringMatch({ kind: match.kind, value });
  // `[::1]` has colons, too; only one after the bracket begins a port.
  const hasPort = value.lastIndexOf(':') > value.lastIndexOf(']');
  if (match.kind === 'prefix') return ({ name, withPort }) => matches(name) || matches(withPort);
  return hasPort ? ({ withPort }) => matches(withPort) : ({ name }) => matches(name);
}

function withoutDot(name: string): string {
  return name.length > 1 && name.endsWith('.') ? name.slice(0, -1) : name;
}
