import type { Document, Node, YAMLError } from 'yaml';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Provenance } from '../model/provenance.ts';
import type { ConfigDocument, Path } from './document.ts';
import { formatPath } from './document.ts';
import { showValue } from './problem.ts';
import type { ConfigProblem } from './source.ts';
import { readPlainDocuments } from './yaml-documents.ts';
import { checkLimits, type LimitProblem, resourceAround, yamlLimits } from './yaml-limits.ts';
import { plainNumber } from './yaml-scalar.ts';

/** Documents of a text, or the reasons why it is refused. Never both: a file is good as a whole. */
export interface ParsedYaml {
  readonly documents: readonly ConfigDocument[];
  readonly problems: readonly ConfigProblem[];
}

/**
 * Reads YAML 1.2 (core schema) or JSON, any number of documents. Strict: duplicate keys, unknown
 * tags, warnings, numbers in other than plain decimal notation, control characters and everything
 * beyond {@link yamlLimits} are problems with their place. Never throws, whatever the text is.
 * Documents of `before`, an earlier state of the same file, that have not changed come back as they are.
 */
export function parseYaml(text: string, file?: string, before: readonly ConfigDocument[] = []): ParsedYaml {
  const source = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const plain = source.length <= yamlLimits.maxBytes ? readPlainDocuments(source, file, before) : undefined;
  return plain === undefined ? parseFully(source, file) : { documents: plain, problems: [] };
}

/** So many mistakes of one document are told of. */
const maxErrors = 100;

/** As {@link parseYaml}, for all of YAML: what is not plain, and what is wrong. */
export function parseFully(source: string, file?: string): ParsedYaml {
  const lines = new LineCounter();
  const refused = checkLimits(source);
  if (refused !== undefined) return { documents: [], problems: [limitProblem(source, refused, file)] };
  let parsed: readonly Document[];
  try {
    const stream = parseAllDocuments(source, {
      lineCounter: lines,
      prettyErrors: false,
      schema: 'core',
      version: '1.2',
      stringKeys: true,
      // Compared below: the library compares each key with each.
      uniqueKeys: false,
      logLevel: 'error',
    });
    parsed = Array.isArray(stream) ? stream : [];
  } catch (cause) {
    const message = `cannot be read as YAML: ${String(cause)}`;
    return { documents: [], problems: [limitProblem(source, { offset: 0, message }, file)] };
  }
  const documents: ConfigDocument[] = [];
  const problems: ConfigProblem[] = [];
  for (const document of parsed) {
    const converter = createConverter(document, lines, file);
    const { explicit, version } = document.directives?.yaml ?? { explicit: false, version: '1.2' };
    if (explicit === true && version !== '1.2') converter.refuse(0, `%YAML ${version} is not supported; only 1.2 is`);
    for (const error of [...document.errors, ...document.warnings].slice(0, maxErrors)) converter.refuseError(error);
    if (converter.problems.length === 0 && !isEmpty(document)) documents.push(converter.convert());
    problems.push(...converter.problems);
  }
  return problems.length === 0 ? { documents, problems } : { documents: [], problems };
}

/** The problem of a text of which there are no documents. */
function limitProblem(
  source: string,
  { offset, message, value }: LimitProblem,
  file: string | undefined,
): ConfigProblem {
  const { field, ...names } = resourceAround(source, offset);
  const before = source.slice(0, offset);
  const line = before.split('\n').length;
  return {
    message,
    at: { ...names, ...place(file), line, column: offset - before.lastIndexOf('\n') },
    ...(field === '' ? {} : { field }),
    ...(value === undefined ? {} : { value }),
  };
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

/** Offset of the value at a path, or of its key; of its nearest parent when it is not there. */
function offsetOf(mark: Mark, path: Path, key = false): number {
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
  return key && whole ? found.keyAt : found.at;
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
  let aliasName = '';
  // The library would walk the whole document for each alias.
  const anchors = new Map<string, Node>();

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
        const field = formatPath(path.slice(0, 8));
        refuse(at, `aliases stand for more than ${yamlLimits.maxAliasedValues} values`, field, aliasName);
      }
      return leaf(undefined);
    }
    if (node === null) return leaf(null);
    if (isAlias(node)) {
      // Once there were too many, no more of them is walked.
      if (aliased > yamlLimits.maxAliasedValues) return leaf(undefined);
      const target = anchors.get(node.source);
      if (target === undefined) {
        refuse(at, `alias *${node.source} names no anchor before it`, formatPath(path));
        return leaf(undefined);
      }
      const outer = insideAlias;
      insideAlias = at;
      if (outer === undefined) aliasName = `*${node.source}`;
      const result = convertNode(target, path, keyAt);
      insideAlias = outer;
      return result;
    }
    const { anchor } = node as { readonly anchor?: string };
    // The newest of a name before an alias counts; inside of one they were all seen.
    if (anchor !== undefined && insideAlias === undefined) anchors.set(anchor, node);
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
      if (children.has(key) && problems.length < maxErrors) {
        refuse(childKeyAt, 'is there twice; every key may appear once', formatPath([...path, key]));
      }
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
      const root = document.contents as Node | null;
      const { value, mark } = convertNode(root, [], root?.range?.[0] ?? 0);
      return {
        ...place(file),
        value,
        locate: (path, key) => {
          const { line, col } = lines.linePos(offsetOf(mark, path, key));
          return { line, column: col };
        },
      };
    },
  };
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
  if (error.code === 'TAG_RESOLVE_FAILED') return `has a tag that is not known: ${showValue(error.message)}`;
  return error.message.replaceAll(/\s+/g, ' ').trim();
}

function place(file: string | undefined): { file?: string } {
  return file === undefined ? {} : { file };
}
