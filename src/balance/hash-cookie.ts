import type { HeaderChanges } from '../lib/header-edit.ts';
import type { HeaderList } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import type { HashKey } from '../model/cluster.ts';

type CookieKey = Extract<HashKey, { kind: 'cookie' }>;

/** Value of the first cookie of this name, without the quotes that it may stand in; nothing for an empty one. */
export function cookieOf(headers: HeaderList, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const key = headers[i] as string;
    if (key.length !== 6 || key.toLowerCase() !== 'cookie') continue;
    const header = headers[i + 1];
    const found = Array.isArray(header) ? valueIn(header.join('; '), name) : valueIn(String(header ?? ''), name);
    if (found !== undefined) return found === '' ? undefined : found;
  }
  return undefined;
}

function valueIn(header: string, name: string): string | undefined {
  for (let at = 0; at < header.length; ) {
    const next = header.indexOf(';', at);
    const end = next === -1 ? header.length : next;
    while (header[at] === ' ') at++;
    if (header.startsWith(name, at) && header[at + name.length] === '=' && at + name.length < end) {
      const value = header.slice(at + name.length + 1, end);
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    at = end + 1;
  }
  return undefined;
}

/**
 * A cookie for a caller that has none, with the `set-cookie` header that gives it to the caller. The
 * value says nothing about anybody: it is a random number. Whoever makes one up only chooses among
 * healthy endpoints.
 */
export function newCookie(
  { name, path, attributes }: CookieKey,
  ttlMs: number,
  random: Random,
): { readonly value: string; readonly header: string } {
  const value = half(random) + half(random);
  const maxAge = Math.floor(ttlMs / 1_000);
  let header = `${name}="${value}"`;
  if (maxAge > 0) header += `; Max-Age=${maxAge}`;
  if (path !== '') header += `; Path=${path}`;
  for (const attribute of attributes) {
    header += attribute.value === '' ? `; ${attribute.name}` : `; ${attribute.name}=${attribute.value}`;
  }
  return { value, header: `${header}; HttpOnly` };
}

function half(random: Random): string {
  return Math.floor(random() * 4_294_967_296)
    .toString(16)
    .padStart(8, '0');
}

/** What a new cookie changes in the response. */
export function cookieChanges(header: string): HeaderChanges {
  return { remove: [], set: [], add: ['set-cookie', header] };
}
