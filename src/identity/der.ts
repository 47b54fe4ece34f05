import { MeshError } from '../errors.ts';

/**
 * A bounded reader of DER (X.690 with the restrictions of DER): definite lengths only, minimal
 * encodings only, no tags of several bytes, nothing after the end. It copies nothing and goes
 * down only where it is asked to, so that its cost follows the questions and not the input.
 */

/** Largest certificate or request that is looked at, in bytes. */
export const maxDerBytes = 65_536;
/** Deepest nesting that is followed. */
export const maxDerDepth = 16;

/** Tags (identifier bytes) that certificates use. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element: where it is and what it holds. Views into the input, not copies. */
export interface DerNode {
  /** The identifier byte: class, constructed bit and number. */
  readonly tag: number;
  /** Header and content. */
  readonly bytes: Buffer;
  readonly content: Buffer;
  readonly depth: number;
}

/** What a malformed input is reported as. */
export function derProblem(reason: string): MeshError {
  return new MeshError('ERR_MESH_PEER_IDENTITY', `malformed DER: ${reason}`);
}

/**
 * Reads the one element that `bytes` must consist of.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` when the input is too large, malformed or followed by more.
 */
export function readDer(bytes: Uint8Array, maxBytes: number = maxDerBytes): DerNode {
  if (bytes.length > maxBytes) throw derProblem(`${bytes.length} bytes, at most ${maxBytes} are read`);
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const node = readAt(input, 0, 0);
  if (node.bytes.length !== input.length) throw derProblem('bytes follow the last element');
  return node;
}

/**
 * Reads elements that follow each other with nothing around them, as the SPIFFE Workload API sends
 * chains and bundles. No bytes are no elements.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` when there are more, one is too large or malformed, or it ends early.
 */
export function readDerList(
  bytes: Uint8Array,
  maxElements: number,
  maxBytes: number = maxDerBytes,
): readonly DerNode[] {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const nodes: DerNode[] = [];
  for (let at = 0; at < input.length; ) {
    if (nodes.length >= maxElements) throw derProblem(`more than ${maxElements} elements in a row`);
    const node = readAt(input, at, 0);
    if (node.bytes.length > maxBytes) throw derProblem(`${node.bytes.length} bytes, at most ${maxBytes} are read`);
    nodes.push(node);
    at += node.bytes.length;
  }
  return nodes;
}

/** The elements inside a constructed element. */
export function derChildren(node: DerNode): readonly DerNode[] {
  if ((node.tag & 0x20) === 0) throw derProblem('a primitive element has no children');
  if (node.depth >= maxDerDepth) throw derProblem(`nested deeper than ${maxDerDepth}`);
  const children: DerNode[] = [];
  for (let at = 0; at < node.content.length; ) {
    const child = readAt(node.content, at, node.depth + 1);
    children.push(child);
    at += child.bytes.length;
  }
  return children;
}

function readAt(input: Buffer, start: number, depth: number): DerNode {
  const tag = input[start];
  const first = input[start + 1];
  if (tag === undefined || first === undefined) throw derProblem('the input ends inside a header');
  if ((tag & 0x1f) === 0x1f) throw derProblem('a tag number of several bytes');
  let length = first;
  let contentStart = start + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0) throw derProblem('an indefinite length');
    if (count > 4) throw derProblem('a length of more than four bytes');
    if (contentStart + count > input.length) throw derProblem('the input ends inside a header');
    length = input.readUIntBE(contentStart, count);
    contentStart += count;
    const shortest = length < 0x80 ? 0 : Math.ceil((32 - Math.clz32(length)) / 8);
    if (shortest !== count) throw derProblem('a length that is not encoded in the shortest way');
  }
  const end = contentStart + length;
  if (end > input.length) throw derProblem('an element is longer than what holds it');
  return { tag, bytes: input.subarray(start, end), content: input.subarray(contentStart, end), depth };
}

/** The element, when it has this tag; refuses anything else. `what` names it in the message. */
export function expectTag(node: DerNode | undefined, tag: number, what: string): DerNode {
  if (node === undefined) throw derProblem(`${what} is missing`);
  if (node.tag !== tag) throw derProblem(`${what} has tag 0x${node.tag.toString(16)}, not 0x${tag.toString(16)}`);
  return node;
}

/** BOOLEAN; DER allows only 0x00 and 0xff. */
export function readBoolean(node: DerNode): boolean {
  expectTag(node, derTag.boolean, 'a BOOLEAN');
  const value = node.content[0];
  if (node.content.length !== 1 || (value !== 0x00 && value !== 0xff)) throw derProblem('a BOOLEAN that is not DER');
  return value === 0xff;
}

/** INTEGER from 0 to 2^31-1, minimally encoded. */
export function readSmallInteger(node: DerNode): number {
  expectTag(node, derTag.integer, 'an INTEGER');
  const { content } = node;
  const [first, second] = content;
  if (first === undefined) throw derProblem('an empty INTEGER');
  if (first >= 0x80) throw derProblem('a negative INTEGER');
  if (first === 0 && second !== undefined && second < 0x80) throw derProblem('an INTEGER that is not minimal');
  if (content.length > 4) throw derProblem('an INTEGER above 2^31-1');
  return content.readUIntBE(0, content.length);
}

/** Time as RFC 5280 (4.1.2.5) allows it: in UTC, with seconds, without fractions. Milliseconds since the epoch. */
export function readTime(node: DerNode): number {
  const utc = node.tag === derTag.utcTime;
  if (!utc && node.tag !== derTag.generalizedTime) throw derProblem(`a time has tag 0x${node.tag.toString(16)}`);
  const text = readPrintableAscii(node.content, 'a time');
  // Of two digits, 50 and more are of the last century.
  const full = utc && /^\d/.test(text) ? `${text < '5' ? '20' : '19'}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full);
  if (parts === null) throw derProblem('a time that is not DER');
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [number, ...number[]];
  const ms = Date.UTC(year, (month as number) - 1, day, hour, minute, second);
  // Date counts the 31st of June as the 1st of July.
  if (new Date(ms).toISOString().replace(/[-:T]|\.000/g, '') !== full) throw derProblem('a time that does not exist');
  return ms;
}

/** OBJECT IDENTIFIER in dotted form. */
export function readOid(node: DerNode): string {
  expectTag(node, derTag.oid, 'an OBJECT IDENTIFIER');
  const { content } = node;
  if (content.length === 0 || content.length > 64) throw derProblem('an OBJECT IDENTIFIER of no or absurd length');
  const numbers: number[] = [];
  let value = 0;
  let groups = 0;
  for (const byte of content) {
    if (groups === 0 && byte === 0x80) throw derProblem('an OBJECT IDENTIFIER that is not minimal');
    // Five groups of seven bits: nothing that we compare with is larger, and nothing overflows.
    if (++groups > 5) throw derProblem('an OBJECT IDENTIFIER with an absurd number');
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    numbers.push(value);
    value = 0;
    groups = 0;
  }
  if (groups !== 0) throw derProblem('an OBJECT IDENTIFIER that ends early');
  const head = numbers[0] as number;
  const first = Math.min(Math.floor(head / 40), 2);
  return [first, head - first * 40, ...numbers.slice(1)].join('.');
}

/** BIT STRING: its bytes, and how many bits at the end do not count (which must be zero). */
export function readBitString(node: DerNode): { readonly bytes: Buffer; readonly unusedBits: number } {
  expectTag(node, derTag.bitString, 'a BIT STRING');
  const unusedBits = node.content[0];
  const bytes = node.content.subarray(1);
  if (unusedBits === undefined || unusedBits > 7 || (bytes.length === 0 && unusedBits > 0)) {
    throw derProblem('a BIT STRING with a wrong count of unused bits');
  }
  const last = bytes[bytes.length - 1] ?? 0;
  if ((last & ((1 << unusedBits) - 1)) !== 0) throw derProblem('a BIT STRING whose unused bits are set');
  return { bytes, unusedBits };
}

/**
 * IA5String bytes as text: printable ASCII only. A NUL, a line break or a byte above 0x7e is
 * refused and not replaced, because what cannot be shown faithfully must not be compared.
 */
export function readPrintableAscii(content: Buffer, what: string): string {
  for (const byte of content) {
    if (byte < 0x20 || byte > 0x7e) throw derProblem(`${what} holds the byte 0x${byte.toString(16).padStart(2, '0')}`);
  }
  return content.toString('latin1');
}
