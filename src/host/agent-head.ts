import { type ClientRequest, validateHeaderName, validateHeaderValue } from 'node:http';
import { MeshError } from '../errors.ts';
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
  const values = headersOf(request).filter(([candidate]) => candidate === name);
  return values.length === 0 ? undefined : values.map(([, value]) => value).join(', ');
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
  if (authority !== undefined) validateHeaderValue('Host', authority);
  const head = serialised(request)._header;
  request.path = target.path;
  if (head !== null) {
    replaceHead(request, head, editedHead(request.method, head, target));
    return;
  }
  if (authority !== undefined) request.setHeader('Host', authority);
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!request.hasHeader(name)) request.setHeader(name, headers[i + 1] as string);
  }
}

function editedHead(method: string, head: string, { path, authority, headers }: AgentTarget): string {
  const fields = fieldsOf(head);
  const present = new Set(fields.map(nameOf));
  const kept = authority === undefined ? fields : fields.filter((line) => nameOf(line) !== 'host');
  const lines = [`${method} ${path} HTTP/1.1`];
  if (authority !== undefined) lines.push(`Host: ${authority}`);
  lines.push(...kept);
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!present.has(name.toLowerCase())) lines.push(`${name}: ${headers[i + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
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
