import type { Document, Node, YAMLError } from 'yaml';
import { isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, parseAllDocuments } from 'yaml';
import type { Provenance } from '../model/provenance.ts';
import type { ConfigDocument, Path, Position } from './document.ts';
import { formatPath } from './document.ts';
import { showValue } from './problem.ts';
import type { ConfigProblem } from './source.ts';

/** What one file may contain. All are far above honest use and far below what hurts. */
export interface YamlLimits {
  /** Size of one file. */
  readonly maxBytes: number;
  /** Nesting of lists and maps. */
  readonly maxDepth: number;
  /** Aliases (`*name`) written in one file. */
  readonly maxAliases: number;
  /** Values that all aliases together stand for: what a "billion laughs" multiplies. */
  readonly maxAliasedValues: number;
  /** Values written in one file. */
  readonly maxValues: number;
}

export const yamlLimits: YamlLimits = {
  maxBytes: 4 * 1024 * 1024,
  maxDepth: 64,
  maxAliases: 1_000,
  maxAliasedValues: 10_000,
  maxValues: 500_000,
};

/** Documents of a text, or the reasons why it is refused. Never both: a file is good as a whole. */
export interface ParsedYaml {
  readonly documents: readonly ConfigDocument[];
  readonly problems: readonly ConfigProblem[];
}

/**
 * Reads YAML 1.2 (core schema) or JSON, any number of documents. Strict: duplicate keys, unknown
 * tags, warnings, numbers in other than plain decimal notation, control characters and everything
 * beyond {@link yamlLimits} are problems with their place. Never throws, whatever the text is.
 */
export function parseYaml(text: string, file?: string): ParsedYaml {
  const source = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const lines = new LineCounter();
  const problemAt = (offset: number, message: string, more?: Partial<ConfigProblem>): ConfigProblem => {
    const { line, column } = positionIn(source, lines, offset);
    return { message, at: { kind: '', namespace: '', name: '', ...place(file), line, column }, ...more };
  };
  const refused = checkLimits(source);
  if (refused !== undefined) return { documents: [], problems: [problemAt(refused.offset, refused.message)] };
  let parsed: readonly Document[];
  try {
    const stream = parseAllDocuments(source, {
      lineCounter: lines,
      prettyErrors: false,
      schema: 'core',
      version: '1.2',
      stringKeys: true,
      logLevel: 'error',
    });
    parsed = Array.isArray(stream) ? stream : [];
  } catch (cause) {
    return { documents: [], problems: [problemAt(0, `cannot be read as YAML: ${String(cause)}`)] };
  }
  const documents: ConfigDocument[] = [];
  const problems: ConfigProblem[] = [];
  for (const document of parsed) {
    const converter = createConverter(document, lines, file);
    const { explicit, version } = document.directives?.yaml ?? { explicit: false, version: '1.2' };
    if (explicit === true && version !== '1.2') converter.refuse(0, `%YAML ${version} is not supported; only 1.2 is`);
    for (const error of [...document.errors, ...document.warnings]) converter.refuseError(error);
    if (converter.problems.length === 0 && !isEmpty(document)) documents.push(converter.convert());
    problems.push(...converter.problems);
  }
  return problems.length === 0 ? { documents, problems } : { documents: [], problems };
}

/** Nothing between two `---`, or only comments. */
function isEmpty({ contents }: Document): boolean {
  return contents === null || (isScalar(contents) && contents.value === null);
}

/** Position of each value: its own offset, its key's, and those of its children. */
interface Mark {
  readonly at: number;
  readonly keyAt: number;
  readonly children?: ReadonlyMap<string | number, Mark>;
}

interface Converter {
  readonly problems: ConfigProblem[];
  convert(): ConfigDocument;
  refuse(offset: number, message: string, field?: string, value?: string): void;
  refuseError(error: YAMLError): void;
}

function createConverter(document: Document, lines: LineCounter, file: string | undefined): Converter {
  const problems: ConfigProblem[] = [];
  let aliased = 0;
  let insideAlias: number | undefined;

  const refuse: Converter['refuse'] = (offset, message, field, value) => {
    const { line, col } = lines.linePos(offset);
    const at: Provenance = { ...identify(document), ...place(file), line: Math.max(line, 1), column: Math.max(col, 1) };
    problems.push({ message, at, ...(field ? { field } : {}), ...(value === undefined ? {} : { value }) });
  };

  /** Plain data and positions of one node; the value is `undefined` once something was refused. */
  const convertNode = (node: Node | null, path: Path, keyAt: number): { value: unknown; mark: Mark } => {
    const at = insideAlias ?? node?.range?.[0] ?? keyAt;
    const leaf = (value: unknown): { value: unknown; mark: Mark } => ({ value, mark: { at, keyAt } });
    if (path.length > yamlLimits.maxDepth) {
      refuse(at, `is nested deeper than ${yamlLimits.maxDepth} levels`, formatPath(path.slice(0, 4)));
      return leaf(undefined);
    }
    if (insideAlias !== undefined && ++aliased > yamlLimits.maxAliasedValues) {
      // Said once; the rest of the bomb is not walked.
      if (aliased === yamlLimits.maxAliasedValues + 1) {
        refuse(at, `aliases stand for more than ${yamlLimits.maxAliasedValues} values`, formatPath(path));
      }
      return leaf(undefined);
    }
    if (node === null) return leaf(null);
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target === undefined) {
        refuse(at, `alias *${node.source} names no anchor before it`, formatPath(path));
        return leaf(undefined);
      }
      const outer = insideAlias;
      insideAlias = at;
      const result = convertNode(target, path, keyAt);
      insideAlias = outer;
      return result;
    }
    if (isScalar(node)) {
      if (typeof node.value === 'number' && !plainNumber.test(node.source ?? '')) {
        refuse(at, 'must be a number in plain decimal notation', formatPath(path), node.source ?? String(node.value));
      }
      return leaf(node.value);
    }
    const children = new Map<string | number, Mark>();
    if (isSeq(node)) {
      const value = node.items.map((item, index) => {
        const child = convertNode(item as Node | null, [...path, index], at);
        children.set(index, child.mark);
        return child.value;
      });
      return { value, mark: { at, keyAt, children } };
    }
    if (!isMap(node)) return leaf(undefined);
    const entries: [string, unknown][] = [];
    for (const pair of node.items) {
      const keyNode = pair.key as Node;
      const childKeyAt = insideAlias ?? keyNode.range?.[0] ?? at;
      // With `stringKeys` a key that is not a string was already an error of the parser.
      const key = isScalar(keyNode) ? String(keyNode.value) : '';
      const child = convertNode(pair.value as Node | null, [...path, key], childKeyAt);
      children.set(key, child.mark);
      entries.push([key, child.value]);
    }
    // fromEntries defines own properties: a key `__proto__` stays a key.
    return { value: Object.fromEntries(entries), mark: { at, keyAt, children } };
  };

  return {
    problems,
    refuse,
    refuseError(error) {
      const path = pathAt(document.contents as Node | null, error.pos[0]);
      refuse(error.pos[0], clearMessage(error), formatPath(path));
    },
    convert() {
      const { value, mark } = convertNode(document.contents as Node | null, [], 0);
      return {
        ...place(file),
        value,
        locate: (path, key = false) => {
          let found = mark;
          let whole = true;
          for (const part of path) {
            const next = found.children?.get(part);
            if (next === undefined) {
              whole = false;
              break;
            }
            found = next;
          }
          const { line, col } = lines.linePos(key && whole ? found.keyAt : found.at);
          return { line, column: col };
        },
      };
    },
  };
}

const plainNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
// YAML 1.2 section 5.1: what may not appear in a document, plus DEL and the C1 controls but NEL.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const unprintable = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u0084\u0086-\u009F\uFFFE\uFFFF]/;

/** Cheap checks on the text and its tokens, before anything is built from it. */
function checkLimits(source: string): { offset: number; message: string } | undefined {
  if (source.length > yamlLimits.maxBytes || Buffer.byteLength(source) > yamlLimits.maxBytes) {
    return { offset: 0, message: `the file is larger than ${yamlLimits.maxBytes.toLocaleString('en')} bytes` };
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
      return { offset, message: `has more than ${yamlLimits.maxAliases} aliases` };
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

/** Line and column also before the parser has counted lines. */
function positionIn(source: string, lines: LineCounter, offset: number): Position {
  if (lines.lineStarts.length > 0) {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }
  const before = source.slice(0, offset);
  const lastBreak = before.lastIndexOf('\n');
  return { line: before.split('\n').length, column: offset - lastBreak };
}

/** Kind and name, as far as a document that is refused still shows them. */
function identify(document: Document): Pick<Provenance, 'kind' | 'namespace' | 'name'> {
  const text = (path: readonly string[]): string => {
    try {
      const value: unknown = document.getIn(path);
      return typeof value === 'string' ? value : '';
    } catch {
      return '';
    }
  };
  return { kind: text(['kind']), namespace: text(['metadata', 'namespace']), name: text(['metadata', 'name']) };
}

/** Path of the innermost value that covers this offset. */
function pathAt(root: Node | null, offset: number): Path {
  const path: (string | number)[] = [];
  // From the beginning of the first node to the end of the last: a tag stands before its value.
  const covers = (first: unknown, last: unknown): boolean => {
    const start = (first as Node | null)?.range?.[0];
    const end = ((last ?? first) as Node | null)?.range?.[1];
    return start !== undefined && end !== undefined && offset >= start && offset <= end;
  };
  for (let node: unknown = root; path.length <= yamlLimits.maxDepth; ) {
    if (isMap(node)) {
      // The last one wins: of two equal keys the second is the one to name.
      const pair = node.items.findLast((item) => covers(item.key, item.value));
      if (pair === undefined || !isScalar(pair.key)) return path;
      path.push(String(pair.key.value));
      node = pair.value;
    } else if (isSeq(node)) {
      const index = node.items.findIndex((item) => covers(item, item));
      if (index === -1) return path;
      path.push(index);
      node = node.items[index];
    } else {
      return path;
    }
  }
  return path;
}

function clearMessage(error: YAMLError): string {
  if (error.code === 'DUPLICATE_KEY') return 'is there twice; every key may appear once';
  if (error.code === 'TAG_RESOLVE_FAILED') return `has a tag that is not known: ${showValue(error.message)}`;
  return error.message.replaceAll(/\s+/g, ' ').trim();
}

function place(file: string | undefined): { file?: string } {
  return file === undefined ? {} : { file };
}
