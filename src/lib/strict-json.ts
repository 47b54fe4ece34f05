/** Bounds of {@link parseStrictJson}. */
export interface StrictJsonLimits {
  /** Longest text, in UTF-16 units. */
  readonly maxLength: number;
  /** Deepest nesting of objects and arrays. */
  readonly maxDepth: number;
  /** Most members and elements in all, an empty object or list counting for one more. Default: as many as fit. */
  readonly maxValues?: number;
  /** Whole numbers beyond 2^53 as `bigint`; `false`: as the nearest number, which is many times as quick. Default true. */
  readonly exactIntegers?: boolean;
  /** `false`: {@link checkUniqueNames} is called when it matters, and not for texts that are refused anyway. Default true. */
  readonly uniqueNames?: boolean;
}

/**
 * `JSON.parse` for texts that decide whom to trust: bounded, refuses an object that has a name
 * twice (readers differ on which one counts; RFC 8259 section 4), and keeps whole numbers beyond
 * 2^53 exact, as `bigint`.
 *
 * @throws SyntaxError saying what is wrong; never quotes more than a name.
 */
export function parseStrictJson(text: string, limits: StrictJsonLimits): unknown {
  const { exactIntegers = true, maxLength, uniqueNames = true } = limits;
  if (text.length > maxLength) throw new SyntaxError(`longer than ${maxLength} characters`);
  walk(text, limits, uniqueNames);
  try {
    // A reviver costs many times the rest, and without that many digits it would find nothing.
    return exactIntegers && /\d{16}/.test(text) ? (JSON.parse as Parse)(text, keepExact) : JSON.parse(text);
  } catch {
    // The message of Node quotes the text, whatever is in it.
    throw new SyntaxError('not JSON');
  }
}

/**
 * Refuses an object that has a name twice, in a text that {@link parseStrictJson} has read without that.
 *
 * @throws SyntaxError naming it
 */
export function checkUniqueNames(text: string): void {
  walk(text, { maxDepth: Number.POSITIVE_INFINITY }, true);
}

/** The third parameter is there since Node 21; the types do not know it yet. */
type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
type Parse = (text: string, reviver: Reviver) => unknown;

const keepExact: Reviver = (_, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d{1,40}$/.test(source)
    ? BigInt(source)
    : value;

/** Of what is open: a list; an object without names yet, with one, or with several. */
type Open = 'list' | undefined | { readonly only: string } | Set<string>;

const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Walks over the text without judging its syntax, which `JSON.parse` does: no recursion, one pass. Whoever sends the
 * text wants it to be slow: most names cost no more than a look into a set, and objects without names nothing.
 */
function walk(
  text: string,
  { maxDepth, maxValues = Number.POSITIVE_INFINITY }: Pick<StrictJsonLimits, 'maxDepth' | 'maxValues'>,
  uniqueNames: boolean,
): void {
  const open: Open[] = [];
  let nameNext = false;
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case openObject:
      case openList:
        if (++values > maxValues) throw new SyntaxError(`more than ${maxValues} values`);
        nameNext = text.charCodeAt(i) === openObject;
        if (open.push(nameNext ? undefined : 'list') > maxDepth)
          throw new SyntaxError(`nested deeper than ${maxDepth}`);
        break;
      case closeObject:
      case closeList:
        open.pop();
        break;
      case comma:
        if (++values > maxValues) throw new SyntaxError(`more than ${maxValues} values`);
        nameNext = open.length > 0 && open[open.length - 1] !== 'list';
        break;
      case colon:
        nameNext = false;
        break;
      case quote: {
        const start = i;
        let escaped = false;
        for (i++; i < text.length; i++) {
          const code = text.charCodeAt(i);
          if (code === quote) break;
          if (code !== backslash) continue;
          escaped = true;
          i++;
        }
        if (uniqueNames && nameNext && open.length > 0) note(open, nameAt(text, start, i, escaped));
      }
    }
  }
}

/** Names are compared as they are meant: "a" and "\u0061" are the same. Nothing for what is no name. */
function nameAt(text: string, start: number, end: number, escaped: boolean): string | undefined {
  if (!escaped) return text.slice(start + 1, end);
  try {
    return JSON.parse(text.slice(start, end + 1)) as string;
  } catch {
    return undefined;
  }
}

function note(open: Open[], name: string | undefined): void {
  const last = open.length - 1;
  const names = open[last];
  if (name === undefined || names === 'list') return;
  if (names === undefined) open[last] = { only: name };
  else if ('only' in names ? names.only === name : names.has(name)) {
    throw new SyntaxError(`the name ${JSON.stringify(name).slice(0, 100)} appears twice`);
  } else if ('only' in names) open[last] = new Set([names.only, name]);
  else names.add(name);
}
