import { createHash } from 'node:crypto';

/** Of lists that are long, and compared again and again: a digest of what they say. */
const kept = new WeakMap<object, string>();

/** @param contents of all that is in the list, in order */
export function keepContent(list: readonly object[], contents: () => readonly string[]): void {
  if (list.length < worthKeeping) return;
  const hash = createHash('sha256');
  for (const content of contents()) hash.update(content).update('\n');
  kept.set(list, hash.digest('base64'));
}

const worthKeeping = 16;

/** What something says, wherever it stands. Routes are not compared: of several that let nobody in, the first will do. */
export function contentOf(value: unknown): string {
  return JSON.stringify(value, apart) ?? '';
}

function apart(key: string, inner: unknown): unknown {
  if (key === 'provenance' || key === 'inline') return undefined;
  return (typeof inner === 'object' && inner !== null ? kept.get(inner) : undefined) ?? inner;
}
