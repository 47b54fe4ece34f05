import { parseStrictJson } from 'inmesh/identity';

/** A JSON Web Token, taken apart but not verified. */
export interface JwtParts {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Longest token that is read, in characters. */
export const maxTokenLength = 16_384;

/**
 * Takes a token apart and checks what a verifier of signatures leaves to its caller: its size,
 * canonical base64url, JSON objects without a name twice, nothing around it. So a text that was
 * verified has one meaning only.
 *
 * @throws Error saying what is wrong, without the token
 */
export function readJwt(token: string): JwtParts {
  if (token.length > maxTokenLength) throw new Error(`the token is longer than ${maxTokenLength} characters`);
  const parts = token.split('.', 4);
  if (parts.length !== 3 || token.split('.').length !== 3) throw new Error('the token has not three parts');
  const [header = '', claims = '', signature = ''] = parts;
  bytesOf(signature, 'signature');
  return { header: objectOf(header, 'header'), claims: objectOf(claims, 'claims') };
}

function objectOf(part: string, what: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytesOf(part, what));
    value = parseStrictJson(text, { maxLength: maxTokenLength, maxDepth: 8 });
  } catch (error) {
    throw new Error(`the ${what} of the token cannot be read: ${(error as Error).message}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`the ${what} of the token is no object`);
}

function bytesOf(part: string, what: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  // Buffer skips what it does not know; then the same token would have many texts.
  if (part === '' || bytes.toString('base64url') !== part) throw new Error(`the ${what} is not canonical base64url`);
  return bytes;
}
