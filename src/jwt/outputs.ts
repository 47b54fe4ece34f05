import type { JwtRule } from '../model/request-authentication.ts';
import type { Claims, ParsedToken } from './token.ts';

/** The headers that tell the application of a verified token, name and value: Envoy's `forward_payload_header` and `claim_to_headers`. */
export function outputHeaders(
  token: ParsedToken,
  claims: Claims,
  rule: JwtRule,
): readonly (readonly [string, string])[] {
  const headers = new Map<string, string>();
  const { outputClaimToHeaders, outputPayloadToHeader } = rule;
  if (outputPayloadToHeader !== undefined) headers.set(outputPayloadToHeader, token.payloadPart);
  for (const { claim, header } of outputClaimToHeaders) {
    const text = renderClaim(claimAt(claims, claim));
    if (text === undefined) continue;
    const before = headers.get(header);
    headers.set(header, before === undefined ? text : `${before},${text}`);
  }
  return [...headers];
}

/** `a.b` is the claim b of the claim a; a name with a dot in it cannot be reached, as in Envoy. */
export function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  let at: unknown = claims;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}

/**
 * A claim as Envoy writes it into a header: texts as they are, whole numbers in digits and others
 * with six of them behind the point, booleans, lists and objects as base64 of their JSON. Nothing
 * for an empty text, null, and what no header can say.
 */
export function renderClaim(value: unknown): string | undefined {
  if (typeof value === 'string') return headerText(value);
  if (typeof value === 'number') return renderNumber(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value !== 'object' || value === null) return undefined;
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64');
}

function renderNumber(value: number): string | undefined {
  if (!Number.isFinite(value)) return undefined;
  const whole = Number.isInteger(value);
  if (whole && value >= 0 && value < 2 ** 64) return String(BigInt(value));
  // C's %f writes all digits, toFixed only those of numbers below 1e21.
  return whole ? `${BigInt(value)}.000000` : value.toFixed(6);
}

/**
 * Envoy puts a text into a header as it is. What is not plain ASCII, or a space at an end, is
 * written as %XX here, since it would be cut, misread or refused by the next who handles the header
 * (CVE-2023-27488); so is a % that could be mistaken for one of these, so that two claims never look alike.
 */
function headerText(text: string): string | undefined {
  if (text === '' || !text.isWellFormed()) return undefined;
  if (plain.test(text)) return text;
  return text.replaceAll(special, (part) =>
    [...Buffer.from(part, 'utf8')].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

const plain = /^(?! )(?:[\x20-\x24\x26-\x7e]|%(?![0-9A-Fa-f]{2}))*(?<! )$/;
const special = /[^\x20-\x7e]+|%(?=[0-9A-Fa-f]{2})|^ | $/gu;
