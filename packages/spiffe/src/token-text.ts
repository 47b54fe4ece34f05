import { parseStrictJson } from 'inmesh/identity';
import { bounds } from './bounds.ts';
import { badToken, reasonOf } from './problem.ts';
import type { Claims } from './struct.ts';

/** The readable parts of a token. Nothing of it is verified. */
export interface TokenText {
  readonly header: Claims;
  readonly claims: Claims;
}

/**
 * Reads a JWT in compact form, strictly: three parts of canonical base64url without padding, header
 * and claims objects in UTF-8 that name no member twice, all of bounded size. What two readers could
 * read in two ways is refused before any cryptography (RFC 8725, 2.4 and 3.2).
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY`
 */
export function readTokenText(token: string): TokenText {
  // A header that is not there is the usual reason, where nobody checks types.
  if (typeof token !== 'string') throw badToken('it is not text');
  if (token.length > bounds.tokenBytes) {
    throw badToken(`${token.length} characters, expected ${bounds.tokenBytes} at most`);
  }
  const parts = token.split('.', 4);
  if (parts.length !== 3) throw badToken('expected three parts with dots between them');
  const [header = '', claims = '', signature = ''] = parts;
  decode(signature, 'the signature');
  return { header: readObject(header, 'the header'), claims: readObject(claims, 'the claims') };
}

function decode(part: string, what: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  // Node passes over what is not base64url, and over bits that do not count.
  if (part === '' || bytes.toString('base64url') !== part) throw badToken(`${what}: not canonical base64url`);
  return bytes;
}

function readObject(part: string, what: string): Claims {
  const bytes = decode(part, what);
  const text = textOf(bytes, what);
  try {
    parseStrictJson(text, { maxLength: bounds.tokenBytes, maxDepth: bounds.claimDepth });
  } catch (cause) {
    throw badToken(`${what}: ${reasonOf(cause)}`, cause);
  }
  // Numbers as everybody else reads them, jose included.
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badToken(`${what}: not an object`);
  return value as Claims;
}

function textOf(bytes: Buffer, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw badToken(`${what}: not UTF-8`, cause);
  }
}
