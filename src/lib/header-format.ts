/**
 * Values of headers as Envoy formats them: text in which `%OPERATOR%` or `%OPERATOR(ARGUMENTS)%` stands
 * for something of the request, and `%%` for a percent sign.
 */
export type FormatPart =
  | { readonly kind: 'text'; readonly text: string }
  /** A header of the request or response: the first of `names` that is there, cut to `maxLength`. */
  | {
      readonly kind: 'header';
      readonly of: 'request' | 'response';
      readonly names: readonly string[];
      readonly maxLength: number;
    }
  | { readonly kind: 'start-time' | 'protocol' | 'response-code' | 'route-name' };

/** A value taken apart. */
export interface ParsedFormat {
  readonly parts: readonly FormatPart[];
  /** Operators that are not known here: they stay in the value as they were written. */
  readonly unknown: readonly string[];
}

const simple = {
  START_TIME: 'start-time',
  PROTOCOL: 'protocol',
  RESPONSE_CODE: 'response-code',
  ROUTE_NAME: 'route-name',
} as const;

const operator = /%(?:%|([A-Z_]+)(?:\(([^()%]*)\))?(?::(\d+))?%)/g;

/** Takes a value apart; never fails. */
export function parseHeaderFormat(value: string): ParsedFormat {
  const parts: FormatPart[] = [];
  const unknown: string[] = [];
  let text = '';
  let at = 0;
  const flush = (): void => {
    if (text !== '') parts.push({ kind: 'text', text });
    text = '';
  };
  for (const found of value.matchAll(operator)) {
    const [whole, name, given, maxLength] = found;
    text += value.slice(at, found.index);
    at = found.index + whole.length;
    const part = name === undefined ? undefined : parsePart(name, given, maxLength);
    if (part !== undefined) {
      flush();
      parts.push(part);
    } else if (name === undefined) text += '%';
    else {
      unknown.push(whole);
      text += whole;
    }
  }
  text += value.slice(at);
  flush();
  return { parts, unknown };
}

/** Operators in a value that are not known here, as they are written. */
export function unknownHeaderOperators(value: string): readonly string[] {
  return parseHeaderFormat(value).unknown;
}

function parsePart(name: string, given: string | undefined, maxLength: string | undefined): FormatPart | undefined {
  if (name === 'REQ' || name === 'RESP') {
    const names = (given ?? '').split('?').map((each) => each.trim().toLowerCase());
    if (names.includes('') || names.length > 2) return undefined;
    const of = name === 'REQ' ? 'request' : 'response';
    return { kind: 'header', of, names, maxLength: maxLength === undefined ? Infinity : Number(maxLength) };
  }
  if (given !== undefined || maxLength !== undefined || !Object.hasOwn(simple, name)) return undefined;
  return { kind: simple[name as keyof typeof simple] };
}

/** What the operators of a value stand for. */
export interface FormatContext {
  requestHeader(name: string): string | undefined;
  /** Nothing while there is no response. */
  responseHeader(name: string): string | undefined;
  readonly status: number;
  readonly routeName: string;
  /** Wall-clock time at which the request began, in milliseconds. */
  startTimeMs(): number;
}

/** The finished value; '' when all that it would consist of is absent. */
export function formatHeader(parts: readonly FormatPart[], context: FormatContext): string {
  let value = '';
  for (const part of parts) {
    switch (part.kind) {
      case 'text':
        value += part.text;
        break;
      case 'header':
        value += headerPart(part, context);
        break;
      case 'start-time':
        value += new Date(context.startTimeMs()).toISOString();
        break;
      case 'protocol':
        value += 'HTTP/1.1';
        break;
      case 'response-code':
        value += String(context.status);
        break;
      default:
        value += context.routeName;
    }
  }
  return value;
}

function headerPart({ maxLength, names, of }: Extract<FormatPart, { kind: 'header' }>, context: FormatContext): string {
  for (const name of names) {
    const value = of === 'request' ? context.requestHeader(name) : context.responseHeader(name);
    if (value !== undefined) return value.slice(0, maxLength);
  }
  return '';
}
