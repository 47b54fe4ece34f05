import type { SubjectName } from './assemble.ts';
import { ipBytes } from './ip.ts';
import { invalid } from './options.ts';

const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/** Host names and IP addresses as names of a certificate, each once. */
export function serverNames(names: readonly string[]): readonly SubjectName[] {
  if (names.length === 0) throw invalid('names', 'a server certificate needs a name');
  return [...new Set(names.map((name) => name.toLowerCase()))].map((name) => {
    const ip = ipBytes(name);
    if (ip !== undefined) return { ip };
    if (!hostName.test(name)) throw invalid('names', 'expected a host name or an IP address', name);
    return { dns: name };
  });
}
