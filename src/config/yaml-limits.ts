import { Lexer } from 'yaml';

/** What one file may contain. All are far above honest use and far below what hurts. */
export interface YamlLimits {
  /** Size of one file. */
  readonly maxBytes: number;
  /** Nesting of lists and maps. */
  readonly maxDepth: number;
  /** Aliases (`*name`) written in one file. */
  readonly maxAliases: number;
  /** Anchors (`&name`), and tags (`!!name`), written in one file. */
  readonly maxMarks: number;
  /** Values that all aliases together stand for: what a "billion laughs" multiplies. */
  readonly maxAliasedValues: number;
  /** Values written in one file. */
  readonly maxValues: number;
}

export const yamlLimits: YamlLimits = {
  maxBytes: 4 * 1024 * 1024,
  maxDepth: 64,
  maxAliases: 1_000,
  maxMarks: 1_000,
  maxAliasedValues: 10_000,
  maxValues: 500_000,
};

/** Why a text is refused before it is parsed. */
export interface LimitProblem {
  readonly offset: number;
  readonly message: string;
  readonly value?: string;
}

/** What is said of a file that is larger than {@link YamlLimits.maxBytes}. */
export function tooLarge(bytes: number): { readonly message: string; readonly value: string } {
  return { message: `must have at most ${yamlLimits.maxBytes} bytes`, value: String(bytes) };
}

// YAML 1.2 section 5.1: what may not appear in a document, plus DEL and the C1 controls but NEL.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const unprintable = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u0084\u0086-\u009F\uFFFE\uFFFF]/;

/** The line behind a comment; -1 for one in which something is that may not appear in a document, or might not. */
export function commentEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x0a) return at + 1;
    if ((code < 0x20 && code !== 0x09) || (code > 0x7e && code < 0xa0) || code >= 0xfffe) return -1;
  }
  return text.length;
}

/** Cheap checks on the text and its tokens, before anything is built from it. */
export function checkLimits(source: string): LimitProblem | undefined {
  if (source.length > yamlLimits.maxBytes || Buffer.byteLength(source) > yamlLimits.maxBytes) {
    return { offset: 0, ...tooLarge(Buffer.byteLength(source)) };
  }
  const bad = unprintable.exec(source);
  if (bad !== null) {
    const code = bad[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    return { offset: bad.index, message: `contains the control character U+${code}` };
  }
  let offset = 0;
  let flowDepth = 0;
  let dashes = 0;
  let aliases = 0;
  let marks = 0;
  let values = 0;
  for (const token of new Lexer().lex(source)) {
    // Markers for "document start" and "scalar follows" are not part of the text.
    if (token === '\u0002') continue;
    if (token === '\u001F') {
      dashes = 0;
      if (++values > yamlLimits.maxValues) return { offset, message: `has more than ${yamlLimits.maxValues} values` };
      continue;
    }
    const first = token[0];
    if (first === '[' || first === '{') flowDepth++;
    else if (first === ']' || first === '}') flowDepth--;
    else if (token === '-' || token === '?') dashes++;
    else if (first === '\n' || first === '\r') dashes = 0;
    else if (first === '*' && ++aliases > yamlLimits.maxAliases) {
      return { offset, message: `has more than ${yamlLimits.maxAliases} aliases`, value: token };
    } else if ((first === '&' || first === '!') && ++marks > yamlLimits.maxMarks) {
      return { offset, message: `has more than ${yamlLimits.maxMarks} anchors and tags`, value: token.slice(0, 80) };
    } else if (first === '"') {
      const bad = badEscape(token);
      if (bad !== undefined) return { ...bad, offset: offset + bad.offset };
    } else if (first === ',' && ++values > yamlLimits.maxValues) {
      return { offset, message: `has more than ${yamlLimits.maxValues} values` };
    }
    if (flowDepth > yamlLimits.maxDepth || dashes > yamlLimits.maxDepth) {
      return { offset, message: `is nested deeper than ${yamlLimits.maxDepth} levels` };
    }
    offset += token.length;
  }
  return undefined;
}

/** YAML 1.2 section 5.7, without those that have digits behind them. */
const escapes: ReadonlySet<string> = new Set([...'0abt\tnvfre "/\\N_LP\r\n']);
const escapeDigits: ReadonlyMap<string, number> = new Map([
  ['x', 2],
  ['u', 4],
  ['U', 8],
]);

/** The first escape that is none: a parser would collect all of them, which takes its time. */
function badEscape(quoted: string): LimitProblem | undefined {
  for (let at = quoted.indexOf('\\'); at !== -1 && at + 1 < quoted.length; at = quoted.indexOf('\\', at)) {
    const code = quoted[at + 1] as string;
    const digits = escapeDigits.get(code) ?? 0;
    if (!(digits === 0 ? escapes.has(code) : isHex(quoted, at + 2, digits))) {
      return {
        offset: at,
        message: 'has an escape sequence that is not known',
        value: quoted.slice(at, at + 2 + digits),
      };
    }
    at += 2 + digits;
  }
  return undefined;
}

function isHex(text: string, from: number, count: number): boolean {
  for (let at = from; at < from + count; at++) {
    if (!'0123456789abcdefABCDEF'.includes(text[at] ?? ' ')) return false;
  }
  return true;
}

/** What a text shows of the resource around an offset without being parsed; '' for what it does not. */
export interface TextResource {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** The top-level field that the offset is in. */
  readonly field: string;
}

/** Only so much of a document is looked at: its head has the names. */
const headLength = 4_096;

/** Finds names for a message about a text that must not be parsed. Guesses; it never decides anything. */
export function resourceAround(source: string, offset: number): TextResource {
  const start = source.lastIndexOf('\n---', offset) + 1;
  const head = source.slice(start, start + headLength);
  const metadata = /^metadata:.*(?:\n[ \t].*)*/m.exec(head)?.[0] ?? '';
  const before = source.slice(Math.max(start, offset - headLength), offset);
  return {
    kind: /^kind:[ \t]*([\w-]+)/m.exec(head)?.[1] ?? '',
    namespace: /\bnamespace:[ \t]*([\w.-]+)/.exec(metadata)?.[1] ?? '',
    name: /\bname:[ \t]*([\w.-]+)/.exec(metadata)?.[1] ?? '',
    field: [...before.matchAll(/^([A-Za-z]\w*):/gm)].at(-1)?.[1] ?? '',
  };
}
