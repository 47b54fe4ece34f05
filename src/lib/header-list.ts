import { youngList } from './young-list.ts';

/** Headers as undici takes them fastest: name, value, name, value. A value may be a list. */
export type HeaderList = (string | string[])[];

/** Every shape of headers that undici accepts. */
export type HeaderInput =
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | readonly (string | readonly string[])[]
  | Iterable<readonly [string, string | readonly string[] | undefined]>
  | null
  | undefined;

/**
 * Copies headers of any shape into a new list, with room to add to. The input is not changed.
 *
 * @throws TypeError when it has none of these shapes.
 */
export function toHeaderList(input: HeaderInput): HeaderList {
  if (input === null || input === undefined) return youngList();
  if (Array.isArray(input)) return input.slice() as HeaderList;
  if (typeof input !== 'object') throw new TypeError('headers must be an object or an array');
  const list: HeaderList = youngList();
  if (Symbol.iterator in input) {
    for (const pair of input as Iterable<readonly [string, string | string[] | undefined]>) {
      if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError('headers must be in key-value pair format');
      if (pair[1] !== undefined) list.push(pair[0], pair[1]);
    }
    return list;
  }
  const record = input as Record<string, string | string[] | undefined>;
  for (const name of Object.keys(record)) {
    const value = record[name];
    if (value !== undefined) list.push(name, value);
  }
  return list;
}

/** Value of a header, or nothing. Several are one, joined with commas (RFC 9110 section 5.3). `name` is lower case. */
export function headerValue(list: HeaderList, name: string): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < list.length; i += 2) {
    const key = list[i] as string;
    // Comparing lengths first avoids lower-casing nearly every name.
    if (key.length !== name.length || (key !== name && key.toLowerCase() !== name)) continue;
    const value = list[i + 1];
    const text = Array.isArray(value) ? value.join(',') : String(value ?? '');
    found = found === undefined ? text : `${found},${text}`;
  }
  return found;
}

/** Replaces every occurrence of a header with one value, or adds it. `name` must be lower case. */
export function setHeader(list: HeaderList, name: string, value: string): void {
  let found = false;
  for (let i = 0; i < list.length; i += 2) {
    const key = list[i] as string;
    if (key.length !== name.length || key.toLowerCase() !== name) continue;
    if (found) {
      list.splice(i, 2);
      i -= 2;
    } else {
      list[i + 1] = value;
      found = true;
    }
  }
  if (!found) list.push(name, value);
}

/** Removes a header; its value, or nothing. `name` must be lower case. */
export function takeHeader(list: HeaderList, name: string): string | undefined {
  const value = headerValue(list, name);
  if (value === undefined) return undefined;
  for (let i = list.length - 2; i >= 0; i -= 2) {
    const key = list[i] as string;
    if (key.length === name.length && key.toLowerCase() === name) list.splice(i, 2);
  }
  return value;
}
