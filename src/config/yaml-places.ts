import type { Path } from './document.ts';

/** A document of the plain part of YAML. */
export interface PlainDocument {
  readonly value: unknown;
  /** Index of its root among the places of the text. */
  readonly root: number;
}

export interface PlainText {
  readonly documents: readonly PlainDocument[];
  /**
   * Three numbers for each value, parents before their children and those in order: its offset,
   * that of its key, and how many values it consists of, itself included.
   */
  readonly places: Int32Array | Uint16Array;
}

/** Offset of the value at a path, or of its key; of its nearest parent when it is not there. */
export function offsetInPlain(places: ArrayLike<number>, document: PlainDocument, path: Path, key = false): number {
  let value = document.value;
  let index = document.root;
  let whole = true;
  for (const part of path) {
    const child = childOf(places, value, index, part);
    if (child === -1) {
      whole = false;
      break;
    }
    index = child;
    value = (value as Readonly<Record<string | number, unknown>>)[part];
  }
  return places[3 * index + (key && whole ? 1 : 0)] as number;
}

function childOf(places: ArrayLike<number>, value: unknown, index: number, part: string | number): number {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return -1;
  if (Array.isArray(value) !== (typeof part === 'number')) return -1;
  let child = index + 1;
  const skip = (): void => void (child += places[3 * child + 2] as number);
  if (typeof part === 'number') for (let i = 0; i < part; i++) skip();
  else {
    for (const name of Object.keys(value)) {
      if (name === part) break;
      skip();
    }
  }
  return child;
}
