import { commentEnd, yamlLimits } from './yaml-limits.ts';
import type { PlainDocument, PlainText } from './yaml-places.ts';
import { resolvePlain } from './yaml-scalar.ts';

/**
 * Reads the part of YAML in which nearly all configuration is written, many times as fast as a
 * parser of all of YAML: maps and lists by indentation or in brackets on one line, text on one line
 * (plain, or in quotes without escapes), comments, ASCII. Of anything else, and of everything that
 * could be a mistake, it says nothing: whoever knows all of YAML must read that text.
 */
export function readPlain(text: string): PlainText | undefined {
  const documents: PlainDocument[] = [];
  try {
    const reader = new PlainReader(text);
    while (reader.nextDocument()) documents.push({ root: reader.count, value: reader.document() });
    return { documents, places: reader.places() };
  } catch (error) {
    if (error === notPlain) return undefined;
    throw error;
  }
}

const notPlain: Error = new Error('not plain');

/** Characters of keys: 2 where one may begin, 1 where it may go on. */
const keyCharacters = new Uint8Array(128);
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_') {
  keyCharacters[character.charCodeAt(0)] = 2;
}
for (const character of './-') keyCharacters[character.charCodeAt(0)] = 1;

/** Characters with which plain text may not begin: they mean something. */
const indicators = new Set([...'?:,[]{}#&*!|>\'"%@`'].map((character) => character.charCodeAt(0)));

const newLine = 10;
const space = 32;
const doubleQuote = 34;
const hash = 35;
const singleQuote = 39;
const comma = 44;
const dash = 45;
const colon = 58;
const openBracket = 91;
const backslash = 92;
const closeBracket = 93;
const openBrace = 123;
const closeBrace = 125;

function isKeyCharacter(code: number): boolean {
  return (keyCharacters[code] ?? 0) > 0;
}

/** Where places are noted while a text is read; one text at a time is. */
let scratch: Int32Array = new Int32Array(96);
/** A larger one is not kept for the next text. */
const maxScratch = 65_536;

class PlainReader {
  /** Values so far. */
  count: number;
  readonly #text: string;
  #at: number;
  /** Column of the line's first character; -1 at the end of a document. */
  #column: number;
  #places: Int32Array;
  /** Items of all lists that are being read, those of inner lists behind those of outer ones. */
  readonly #items: unknown[];
  #itemCount: number;

  constructor(text: string) {
    this.count = 0;
    this.#text = text;
    this.#at = 0;
    this.#column = -1;
    this.#places = scratch;
    this.#items = [];
    this.#itemCount = 0;
  }

  places(): Int32Array | Uint16Array {
    const places = this.#places.subarray(0, 3 * this.count);
    return this.#text.length <= 65_536 ? new Uint16Array(places) : places.slice();
  }

  /** Goes to the first line of the next document that has any. */
  nextDocument(): boolean {
    while (this.#at < this.#text.length) {
      this.#nextLine();
      if (this.#column >= 0) return true;
      if (this.#at < this.#text.length) this.#endLine(this.#at + 3);
    }
    return false;
  }

  document(): unknown {
    // Of a bare text, or a list, somebody else must say that it is no resource.
    if (this.#column !== 0 || this.#isItem()) throw notPlain;
    const value = this.#map(0, 0, this.#at);
    if (this.#isInside()) throw notPlain;
    if (this.#at < this.#text.length) this.#endLine(this.#at + 3);
    return value;
  }

  #isInside(): boolean {
    return this.#column >= 0;
  }

  /** From the beginning of a line to the next one that says something. */
  #nextLine(): void {
    const text = this.#text;
    let line = this.#at;
    for (;;) {
      let at = line;
      while (text.charCodeAt(at) === space) at++;
      const code = text.charCodeAt(at);
      if (at >= text.length) {
        this.#at = text.length;
        this.#column = -1;
        return;
      }
      if (code === newLine) line = at + 1;
      else if (code === hash) {
        line = this.#commentEnd(at);
      } else {
        this.#at = at;
        this.#column = at === line && this.#isMarker(at) ? -1 : at - line;
        return;
      }
    }
  }

  #commentEnd(from: number): number {
    const end = commentEnd(this.#text, from);
    if (end === -1) throw notPlain;
    return end;
  }

  /** `---`, and nothing else that matters on its line. */
  #isMarker(at: number): boolean {
    return this.#text.startsWith('---', at) && this.#isBreak(at + 3);
  }

  /** A space or the end of a line. */
  #isBreak(at: number): boolean {
    const code = this.#text.charCodeAt(at);
    return code === space || code === newLine || at >= this.#text.length;
  }

  #isItem(): boolean {
    return this.#text.charCodeAt(this.#at) === dash && this.#isBreak(this.#at + 1);
  }

  /** After a value only a comment may follow; then the next line. */
  #endLine(from: number): void {
    const text = this.#text;
    let at = from;
    while (text.charCodeAt(at) === space) at++;
    const code = text.charCodeAt(at);
    if (code === hash && at > from) {
      this.#at = this.#commentEnd(at);
    } else if (code === newLine) this.#at = at + 1;
    else if (at >= text.length) this.#at = text.length;
    else throw notPlain;
  }

  /** Notes a value that begins here. */
  #enter(depth: number, keyAt: number): number {
    const index = this.count++;
    if (depth > yamlLimits.maxDepth || index >= yamlLimits.maxValues) throw notPlain;
    const places = this.#grown(3 * index + 3);
    places[3 * index] = this.#at;
    places[3 * index + 1] = keyAt;
    places[3 * index + 2] = 1;
    return index;
  }

  #leave(index: number): void {
    this.#places[3 * index + 2] = this.count - index;
  }

  #grown(length: number): Int32Array {
    if (length > this.#places.length) {
      const larger = new Int32Array(2 * length);
      larger.set(this.#places);
      this.#places = larger;
      if (larger.length <= maxScratch) scratch = larger;
    }
    return this.#places;
  }

  /** What stands below its key or dash. */
  #below(column: number, depth: number, keyAt: number): unknown {
    if (this.#column > column) {
      return this.#isItem() ? this.#list(this.#column, depth, keyAt) : this.#map(this.#column, depth, keyAt);
    }
    throw notPlain;
  }

  #map(column: number, depth: number, keyAt: number): unknown {
    const index = this.#enter(depth, keyAt);
    const value: Record<string, unknown> = {};
    do {
      const childKeyAt = this.#at;
      const key = this.#key();
      refuseKey(value, key);
      const valueAt = this.#skipSpaces(this.#at);
      const code = this.#text.charCodeAt(valueAt);
      if (code === newLine || code === hash || valueAt >= this.#text.length) {
        this.#endLine(this.#at);
        this.#nextLine();
        // The items of a list may stand as far left as its key.
        const list = this.#column === column && this.#isItem();
        value[key] = list ? this.#list(column, depth + 1, childKeyAt) : this.#below(column, depth + 1, childKeyAt);
      } else {
        this.#at = valueAt;
        value[key] = this.#inline(depth + 1, childKeyAt);
        this.#finishInline(column);
      }
    } while (this.#column === column);
    if (this.#column > column) throw notPlain;
    this.#leave(index);
    return value;
  }

  #list(column: number, depth: number, keyAt: number): unknown {
    const at = this.#at;
    const index = this.#enter(depth, keyAt);
    const from = this.#itemCount;
    do {
      const itemAt = this.#skipSpaces(this.#at + 1);
      const code = this.#text.charCodeAt(itemAt);
      if (code === newLine || code === hash || itemAt >= this.#text.length) {
        this.#endLine(this.#at + 1);
        this.#nextLine();
        this.#addItem(this.#below(column, depth + 1, at));
      } else {
        this.#column += itemAt - this.#at;
        this.#at = itemAt;
        if (this.#isItem()) this.#addItem(this.#list(this.#column, depth + 1, at));
        else if (this.#startsMap()) this.#addItem(this.#map(this.#column, depth + 1, at));
        else {
          this.#addItem(this.#inline(depth + 1, at));
          this.#finishInline(column);
        }
      }
    } while (this.#column === column && this.#isItem());
    if (this.#column > column) throw notPlain;
    this.#leave(index);
    return this.#takeItems(from);
  }

  #addItem(item: unknown): void {
    this.#items[this.#itemCount++] = item;
  }

  /** A list with room for its items and no more: there are very many with one item. */
  #takeItems(from: number): readonly unknown[] {
    const items = this.#items.slice(from, this.#itemCount);
    this.#itemCount = from;
    return items;
  }

  /** The next line must not go on with the text of this one. */
  #finishInline(column: number): void {
    this.#endLine(this.#at);
    this.#nextLine();
    if (this.#column > column) throw notPlain;
  }

  #startsMap(): boolean {
    const at = this.#at;
    const end = this.#keyEnd(at);
    return end !== -1 && this.#text.charCodeAt(end) === colon && this.#isBreak(end + 1);
  }

  /** A key with its colon; goes behind it. */
  #key(): string {
    const at = this.#at;
    const end = this.#keyEnd(at);
    if (end === -1 || this.#text.charCodeAt(end) !== colon || !this.#isBreak(end + 1)) throw notPlain;
    this.#at = end + 1;
    const quoted = keyCharacters[this.#text.charCodeAt(at)] !== 2;
    return quoted ? this.#text.slice(at + 1, end - 1) : this.#text.slice(at, end);
  }

  /** Where a key ends that begins here; -1 when none does. */
  #keyEnd(at: number): number {
    const text = this.#text;
    const first = text.charCodeAt(at);
    if (first === doubleQuote || first === singleQuote) return this.#quoteEnd(at, first);
    if (keyCharacters[first] !== 2) return -1;
    let end = at + 1;
    while (isKeyCharacter(text.charCodeAt(end))) end++;
    return end;
  }

  #quoteEnd(at: number, quote: number): number {
    const text = this.#text;
    let end = at + 1;
    for (; ; end++) {
      const code = text.charCodeAt(end);
      if (code === quote) break;
      // The end of the text is not a number, and no comparison with it holds.
      if (!(code >= space && code < 127) || (code === backslash && quote === doubleQuote)) throw notPlain;
    }
    if (quote === singleQuote && text.charCodeAt(end + 1) === singleQuote) throw notPlain;
    return end + 1;
  }

  #skipSpaces(at: number): number {
    let next = at;
    while (this.#text.charCodeAt(next) === space) next++;
    return next;
  }

  /** A value on one line; goes behind it. */
  #inline(depth: number, keyAt: number, inBrackets = false): unknown {
    const at = this.#at;
    const code = this.#text.charCodeAt(at);
    if (code === openBracket || code === openBrace) return this.#brackets(code, depth, keyAt);
    this.#enter(depth, keyAt);
    if (code === doubleQuote || code === singleQuote) {
      this.#at = this.#quoteEnd(at, code);
      return this.#text.slice(at + 1, this.#at - 1);
    }
    if (
      indicators.has(code) ||
      (code === dash && (this.#isBreak(at + 1) || (inBrackets && !isKeyCharacter(this.#text.charCodeAt(at + 1)))))
    )
      throw notPlain;
    return scalar(this.#plain(inBrackets));
  }

  #plain(inBrackets: boolean): string {
    const text = this.#text;
    const at = this.#at;
    let end = at;
    let next = at;
    for (; ; next++) {
      const code = text.charCodeAt(next);
      if (code === newLine || next >= text.length) break;
      if (code === space) continue;
      if (code < space || code > 126) throw notPlain;
      if (code === hash && text.charCodeAt(next - 1) === space) break;
      if (code === colon && this.#isBreak(next + 1)) throw notPlain;
      if (inBrackets) {
        if (code === comma || code === closeBracket || code === closeBrace) break;
        if (code === openBracket || code === openBrace) throw notPlain;
        // `a:b` is text, `a:,` is not.
        if (code === colon && !isKeyCharacter(text.charCodeAt(next + 1))) throw notPlain;
      }
      end = next + 1;
    }
    if (end === at) throw notPlain;
    this.#at = end;
    return text.slice(at, end);
  }

  #brackets(open: number, depth: number, keyAt: number): unknown {
    const at = this.#at;
    const index = this.#enter(depth, keyAt);
    const close = open === openBrace ? closeBrace : closeBracket;
    const list: unknown[] = [];
    const map: Record<string, unknown> = {};
    this.#at = this.#skipSpaces(at + 1);
    let more = this.#text.charCodeAt(this.#at) !== close;
    while (more) {
      if (open === openBracket) {
        list.push(this.#inline(depth + 1, at, true));
      } else {
        const childKeyAt = this.#at;
        const key = this.#key();
        refuseKey(map, key);
        this.#at = this.#skipSpaces(this.#at);
        map[key] = this.#inline(depth + 1, childKeyAt, true);
      }
      this.#at = this.#skipSpaces(this.#at);
      more = this.#text.charCodeAt(this.#at) === comma;
      if (more) this.#at = this.#skipSpaces(this.#at + 1);
    }
    if (this.#text.charCodeAt(this.#at) !== close) throw notPlain;
    this.#at++;
    this.#leave(index);
    return open === openBrace ? map : list;
  }
}

/** A key that is there twice, that every object has, or that JavaScript would put before the others. */
function refuseKey(map: Readonly<Record<string, unknown>>, key: string): void {
  const code = key.charCodeAt(0);
  // No value is undefined.
  if (map[key] !== undefined || (code >= 48 && code <= 57 && String(Number(key)) === key)) throw notPlain;
}

function scalar(text: string): unknown {
  const value = resolvePlain(text);
  if (value === undefined) throw notPlain;
  return value;
}
