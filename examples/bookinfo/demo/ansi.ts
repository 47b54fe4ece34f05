/** Colours, or none: when the output is no terminal, or `NO_COLOR` is set. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  note(text: string): string;
  bad(text: string): string;
  link(text: string): string;
}

export function createPaint(on: boolean): Paint {
  const wrap = (open: number, close: number) => (text: string) => (on ? `\x1b[${open}m${text}\x1b[${close}m` : text);
  return {
    bold: wrap(1, 22),
    dim: wrap(2, 22),
    good: wrap(32, 39),
    note: wrap(33, 39),
    bad: wrap(31, 39),
    link: wrap(36, 39),
  };
}

/** May we use colours here? */
export function wantsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with a control character.
const sequence = /\x1b\[[0-9;]*m/g;

/** Columns that the text takes on the screen. */
export function widthOf(text: string): number {
  return [...text.replace(sequence, '')].length;
}

/** Cuts to `width` columns, keeping colour sequences whole, and closes colours that were open. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let out = '';
  let columns = 0;
  let last = 0;
  const add = (plain: string): void => {
    for (const character of plain) {
      if (columns >= width - 1) return;
      out += character;
      columns++;
    }
  };
  for (const match of text.matchAll(sequence)) {
    add(text.slice(last, match.index));
    out += match[0];
    last = match.index + match[0].length;
  }
  add(text.slice(last));
  return `${out}…`;
}

/** Pads to `width` columns. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(width - widthOf(text), 0));
  return align === 'left' ? text + space : space + text;
}
