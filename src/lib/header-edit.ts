import { type HeaderList, setHeader } from './header-list.ts';

/** One level of header changes with finished values; names are lower case. Order: remove, set, add. */
export interface HeaderChanges {
  readonly remove: readonly string[];
  /** Flat list name, value: replaces all values. */
  readonly set: readonly string[];
  /** Flat list name, value: one more value. */
  readonly add: readonly string[];
}

/**
 * Headers that say how a request is framed and carried: configuration may not change them, because
 * body and headers would no longer agree. `host` is the authority and has rules of its own.
 */
export const fixedRequestHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** These, and what says where a request goes and how it is carried on: nobody but its sender may say so. Lower case. */
export function framesRequest(name: string): boolean {
  return fixedRequestHeaders.has(name) || name === 'host' || name === 'te';
}

/** Headers of a request on its way to undici. */
export function removeHeader(list: HeaderList, name: string): void {
  let kept = 0;
  for (let i = 0; i < list.length; i += 2) {
    const key = list[i] as string;
    if (key.length === name.length && key.toLowerCase() === name) continue;
    list[kept] = key;
    list[kept + 1] = list[i + 1] as string;
    kept += 2;
  }
  list.length = kept;
}

/** Applies changes to the headers of a request. */
export function changeList(list: HeaderList, { remove, set, add }: HeaderChanges): void {
  for (const name of remove) removeHeader(list, name);
  for (let i = 0; i < set.length; i += 2) setHeader(list, set[i] as string, set[i + 1] as string);
  for (let i = 0; i < add.length; i += 2) list.push(add[i] as string, add[i + 1] as string);
}

/** Headers as undici parsed them, names in lower case. */
export type HeaderRecord = Record<string, string | string[] | undefined>;

/** Applies changes to parsed headers. */
export function changeRecord(record: HeaderRecord, { remove, set, add }: HeaderChanges): void {
  for (const name of remove) delete record[name];
  for (let i = 0; i < set.length; i += 2) record[set[i] as string] = set[i + 1] as string;
  for (let i = 0; i < add.length; i += 2) {
    const name = add[i] as string;
    const value = add[i + 1] as string;
    const before = record[name];
    record[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
  }
}

/**
 * Applies changes to headers as they came over the wire, name, value, name, value, all texts or all
 * buffers: into a new list.
 */
export function changeRaw<T extends string | Buffer>(raw: readonly T[], changes: HeaderChanges): T[] {
  const { remove, set, add } = changes;
  const gone = new Set(remove);
  for (let i = 0; i < set.length; i += 2) gone.add(set[i] as string);
  const list: T[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (gone.has(String(raw[i]).toLowerCase())) continue;
    list.push(raw[i] as T, raw[i + 1] as T);
  }
  const bytes = Buffer.isBuffer(raw[0]);
  for (const pairs of [set, add]) {
    // Header bytes are latin1 (RFC 9110 section 5.5).
    for (const each of pairs) list.push((bytes ? Buffer.from(each, 'latin1') : each) as T);
  }
  return list;
}
