import type { StringMatch } from '../model/string-match.ts';
import { hostView } from './host-match.ts';

/** Names of which a request must have one, or the hosts cannot match. */
export interface HostKeys {
  /** Without port: entries that match any port. */
  readonly names: readonly string[];
  readonly withPort: readonly string[];
}

/** What an index looks hosts up by, in the form of `hostView`; nothing when they are not that simple. */
export function hostKeys(matches: readonly StringMatch[]): HostKeys | undefined {
  const names: string[] = [];
  const withPort: string[] = [];
  for (const match of matches) {
    if (match.kind !== 'exact') return undefined;
    const own = hostView(match.value);
    for (const view of own.other === undefined ? [own] : [own, own.other]) {
      if (view.withPort === view.name) names.push(view.name);
      else withPort.push(view.withPort);
    }
  }
  return { names, withPort };
}
