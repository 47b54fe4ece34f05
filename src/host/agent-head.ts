import { type ClientRequest, validateHeaderName, validateHeaderValue } from 'node:http';
import { MeshError } from '../errors.ts';
import { changeRaw, type HeaderChanges } from '../lib/header-edit.ts';
import type { AgentTarget } from './agent-target.ts';

/** What node:http keeps of a request head between its serialisation and the first write. */
interface Serialised {
  /** The whole head with its empty line; null until the first `write`, `end` or `flushHeaders`. */
  _header: string | null;
  /** The head has been put in front of `outputData`. */
  _headerSent: boolean;
  readonly outputData: { data: string | Uint8Array }[];
}

/**
 * Headers of a request that has no socket yet, names in lower case, one entry for each value. Works
 * for headers that were given as an array too, of which node:http keeps only the text.
 */
export function headersOf(request: ClientRequest): [name: string, value: string][] {
  const list: [string, string][] = [];
  for (const [name, value] of Object.entries(request.getHeaders())) {
    for (const one of Array.isArray(value) ? value : [value]) list.push([name, String(one)]);
  }
  const head = serialised(request)._header;
  if (list.length > 0 || head === null) return list;
  return fieldsOf(head).map((line) => [nameOf(line), line.slice(line.indexOf(':') + 1).trim()]);
}

/** Value of one header, several joined with commas. `name` must be lower case. */
export function headerOf(request: ClientRequest, name: string): string | undefined {
  const value = request.getHeader(name);
  if (value !== undefined) return Array.isArray(value) ? value.join(', ') : String(value);
  if (!givenAsArray(request)) return undefined;
  const values = headersOf(request).filter(([candidate]) => candidate === name);
  return values.length === 0 ? undefined : values.map(([, one]) => one).join(', ');
}

/**
 * Changes path, Host and added headers of a request that has no socket yet, whether or not the
 * application has already ended it and thereby had its head written down.
 *
 * @throws TypeError of node:http when a value may not stand in a head.
 */
export function applyTarget(request: ClientRequest, target: AgentTarget): void {
  const { headers, authority } = target;
  if (!/^[!-\u00ff]+$/.test(target.path)) throw new TypeError('Request path contains unescaped characters');
  for (let i = 0; i < headers.length; i += 2) {
    validateHeaderName(headers[i] as string);
    validateHeaderValue(headers[i] as string, headers[i + 1] as string);
  }
  for (const { set, add } of target.changes ?? []) {
    for (const pairs of [set, add]) {
      for (let i = 0; i < pairs.length; i += 2) {
        validateHeaderName(pairs[i] as string);
        validateHeaderValue(pairs[i] as string, pairs[i + 1] as string);
      }
    }
  }
  if (authority !== undefined) validateHeaderValue('Host', authority);
  const head = serialised(request)._header;
  const taken = givenAsArray(request) ? new Set(headersOf(request).map(([name]) => name)) : undefined;
  const has = (name: string): boolean =>
    taken === undefined ? request.hasHeader(name) : taken.has(name.toLowerCase());
  let added = '';
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    if (has(name)) continue;
    if (head === null) request.setHeader(name, value);
    else added += `${name}: ${value}\r\n`;
  }
  request.path = target.path;
  if (head === null) {
    if (authority !== undefined) request.setHeader('Host', authority);
    for (const changes of target.changes ?? []) changeHeaders(request, changes);
    return;
  }
  // Each field with the line end before it, without the empty line at the end.
  const fields = head.slice(head.indexOf('\r\n'), -4);
  const kept = authority === undefined ? fields : `\r\nHost: ${authority}${fields.replaceAll(/\r\nhost:[^\r]*/gi, '')}`;
  const written = changeLines(`${kept}\r\n${added}`, target.changes ?? []);
  replaceHead(request, head, `${request.method} ${target.path} HTTP/1.1${written}\r\n`);
}

function changeHeaders(request: ClientRequest, { remove, set, add }: HeaderChanges): void {
  for (const name of remove) request.removeHeader(name);
  for (let i = 0; i < set.length; i += 2) request.setHeader(set[i] as string, set[i + 1] as string);
  for (let i = 0; i < add.length; i += 2) request.appendHeader(add[i] as string, add[i + 1] as string);
}

/** `lines` has a line end in front of the first field and behind the last. */
function changeLines(lines: string, changes: readonly HeaderChanges[]): string {
  if (changes.length === 0) return lines;
  let raw = lines
    .split('\r\n')
    .slice(1, -1)
    .flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
  for (const each of changes) raw = changeRaw(raw, each);
  let text = '\r\n';
  for (let i = 0; i < raw.length; i += 2) text += `${raw[i]}: ${raw[i + 1]}\r\n`;
  return text;
}

/** node:http keeps headers that were given as an array as text only. */
function givenAsArray(request: ClientRequest): boolean {
  return serialised(request)._header !== null && request.getHeaderNames().length === 0;
}

function replaceHead(request: ClientRequest, before: string, after: string): void {
  const state = serialised(request);
  state._header = after;
  if (!state._headerSent) return;
  const first = state.outputData[0];
  if (typeof first?.data !== 'string' || !first.data.startsWith(before)) {
    // Never let a request out with the wrong path or host.
    throw new MeshError('ERR_MESH_UNSUPPORTED', 'the head of this request can no longer be changed');
  }
  first.data = after + first.data.slice(before.length);
}

function serialised(request: ClientRequest): Serialised {
  return request as unknown as Serialised;
}

/** The header lines, without request line and empty line. */
function fieldsOf(head: string): string[] {
  return head.split('\r\n').slice(1, -2);
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf(':')).toLowerCase();
}
