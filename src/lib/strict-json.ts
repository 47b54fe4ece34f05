/** Bounds of {@link parseStrictJson}. */
export interface StrictJsonLimits {
  /** Longest text, in UTF-16 units. */
  readonly maxLength: number;
  /** Deepest nesting of objects and arrays. */
  readonly maxDepth: number;
  /** Most members and elements in all. Default: as many as fit. */
  readonly maxValues?: number;
}

/**
 * `JSON.parse` for texts that decide whom to trust: bounded, refuses an object that has a name
 * twice (readers differ on which one counts; RFC 8259 section 4), and keeps whole numbers beyond
 * 2^53 exact, as `bigint`.
 *
 * @throws SyntaxError saying what is wrong; never quotes more than a name.
 */
export function parseStrictJson(text: string, limits: StrictJsonLimits): unknown {
  const { maxLength } = limits;
  if (text.length > maxLength) throw new SyntaxError(`longer than ${maxLength} characters`);
  checkNames(text, limits);
  try {
    // A reviver costs many times the rest, and without that many digits it would find nothing.
    return /\d{16}/.test(text) ? (JSON.parse as Parse)(text, exactIntegers) : JSON.parse(text);
  } catch {
    // The message of Node quotes the text, whatever is in it.
    throw new SyntaxError('not JSON');
  }
}

/** The third parameter is there since Node 21; the types do not know it yet. */
type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
type Parse = (text: string, reviver: Reviver) => unknown;

const exactIntegers: Reviver = (_, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d{1,40}$/.test(source)
    ? BigInt(source)
    : value;

/** Walks over the text without judging its syntax, which `JSON.parse` does: no recursion, one pass. */
function checkNames(text: string, { maxDepth, maxValues = Number.POSITIVE_INFINITY }: StrictJsonLimits): void {
  /** For each open object the names seen, for each open array nothing. */
  const open: (Set<string> | undefined)[] = [];
  let nameNext = false;
  let values = 1;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') {
      nameNext = char === '{';
      if (open.push(nameNext ? new Set() : undefined) > maxDepth)
        throw new SyntaxError(`nested deeper than ${maxDepth}`);
    } else if (char === '}' || char === ']') open.pop();
    else if (char === ',') {
      if (++values > maxValues) throw new SyntaxError(`more than ${maxValues} values`);
      nameNext = open.at(-1) !== undefined;
    } else if (char === ':') nameNext = false;
    else if (char === '"') {
      const start = i;
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++;
      if (nameNext) note(open.at(-1), text.slice(start, i + 1));
    }
  }
}

function note(names: Set<string> | undefined, quoted: string): void {
  let name: unknown;
  try {
    // Names are compared as they are meant: "a" and "\u0061" are the same.
    name = JSON.parse(quoted);
  } catch {
    return;
  }
  if (names?.has(name as string)) throw new SyntaxError(`the name ${JSON.stringify(name).slice(0, 100)} appears twice`);
  names?.add(name as string);
}
