/** Where a value stands in its file, from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Keys and indices from the root of a document: `['spec', 'http', 0, 'timeout']`. */
export type Path = readonly (string | number)[];

/** One document of a YAML or JSON file: plain data, with the position of every field. */
export interface ConfigDocument {
  /** File it was read from; absent for documents that were given as text or as objects. */
  readonly file?: string;
  readonly value: unknown;
  /**
   * Position of the value at `path`; of its nearest parent when it does not exist. With `key`, the
   * position of the last key itself instead of its value. Nothing when positions are not known.
   */
  locate(path: Path, key?: boolean): Position | undefined;
}

/** Wraps an object that did not come from text, so that it can be compiled like one. */
export function documentOf(value: unknown): ConfigDocument {
  return { value, locate: () => undefined };
}

/** Writes a path the way people read it: `spec.http[0].match[1].headers["end.user"]`. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}
