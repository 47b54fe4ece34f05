import type { ConfigDocument, Position } from './document.ts';
import { shareDigest } from './version.ts';
import { yamlLimits } from './yaml-limits.ts';
import { offsetInPlain, type PlainDocument } from './yaml-places.ts';
import { readPlain } from './yaml-plain.ts';

/** Where a document came from: what has the same text at the same place is the same document. */
interface Origin {
  readonly text: string;
  /** Line of its first character, from 0. */
  readonly line: number;
  readonly plain: PlainDocument;
  /** Of its values. */
  readonly places: ArrayLike<number>;
}

const origins = new WeakMap<ConfigDocument, Origin>();

/**
 * The documents of a plain text, each read by itself. Those that stand in `before` with the same
 * text in the same lines are these very objects again; those that only moved are not read again.
 * Nothing when the text is not plain.
 */
export function readPlainDocuments(
  source: string,
  file: string | undefined,
  before: readonly ConfigDocument[],
): readonly ConfigDocument[] | undefined {
  const known = new Map<number, ConfigDocument>();
  const byText = new Map<string, ConfigDocument>();
  for (const document of before) {
    const origin = document.file === file ? origins.get(document) : undefined;
    if (origin === undefined) continue;
    known.set(origin.line, document);
    byText.set(origin.text, document);
  }
  const documents: ConfigDocument[] = [];
  let values = 0;
  let line = 0;
  for (let start = 0; start < source.length; ) {
    const end = nextMarker(source, start);
    const part = source.slice(start, end);
    const old = known.get(line);
    const origin = old && origins.get(old);
    if (old !== undefined && origin?.text === part) {
      documents.push(old);
      values += origin.places.length / 3;
    } else {
      const same = byText.get(part);
      const fresh = same === undefined ? readPart(part, line, file) : [moved(same, line, file)];
      if (fresh === undefined) return undefined;
      for (const document of fresh) {
        documents.push(document);
        values += (origins.get(document)?.places.length ?? 0) / 3;
      }
    }
    if (values > yamlLimits.maxValues) return undefined;
    line += countLines(part, 0, part.length);
    start = end;
  }
  return documents;
}

function readPart(part: string, line: number, file: string | undefined): readonly ConfigDocument[] | undefined {
  // A copy of its own: parts of the file that change must not be kept for the sake of the others.
  const text = Buffer.from(part).toString();
  const plain = text.length === part.length ? readPlain(text) : undefined;
  return plain?.documents.map((each) => documentAt({ text, line, plain: each, places: plain.places }, file));
}

/** The same content in other lines. */
function moved(document: ConfigDocument, line: number, file: string | undefined): ConfigDocument {
  const copy = documentAt({ ...(origins.get(document) as Origin), line }, file);
  shareDigest(document, copy);
  return copy;
}

/** Positions are worked out when somebody asks for one: for most documents nobody does. */
function documentAt(origin: Origin, file: string | undefined): ConfigDocument {
  const { line: firstLine, places, plain, text } = origin;
  // Who asks for many asks for them in order.
  let offset = 0;
  let line = firstLine;
  const document: ConfigDocument = {
    ...(file === undefined ? {} : { file }),
    value: plain.value,
    locate(path, key): Position {
      const wanted = offsetInPlain(places, plain, path, key);
      if (wanted < offset) {
        offset = 0;
        line = firstLine;
      }
      line += countLines(text, offset, wanted);
      offset = wanted;
      return { line: line + 1, column: wanted - text.lastIndexOf('\n', wanted - 1) };
    },
  };
  origins.set(document, origin);
  return document;
}

function countLines(text: string, from: number, to: number): number {
  let lines = 0;
  for (let at = text.indexOf('\n', from); at !== -1 && at < to; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}

/** Where the next line begins that separates documents; the end of the text when none does. */
function nextMarker(text: string, from: number): number {
  for (let at = text.indexOf('\n---', from); at !== -1; at = text.indexOf('\n---', at + 1)) {
    const after = text.charCodeAt(at + 4);
    if (after === 10 || after === 32 || at + 4 >= text.length) return at + 1;
  }
  return text.length;
}
