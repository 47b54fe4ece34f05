import { decodedComponent } from './decode-component.ts';

/** A name or a value of a query as its readers decode it; what cannot be decoded stays as it is. */
export function decodedQuery(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  const spaced = text.replaceAll('+', ' ');
  return decodedComponent(spaced) ?? spaced;
}

/**
 * The parameter that a reader of nested queries takes a name for: to the parser of Express 4 `[a]`,
 * `a[]` and `a[b]` are all `a`. What is taken away or looked for by one name has these as well.
 *
 * @param name decoded
 */
export function rootOfName(name: string): string {
  const open = name.indexOf('[');
  if (open === -1) return name;
  if (open > 0) return name.slice(0, open);
  const close = name.indexOf(']');
  return close === -1 ? name : name.slice(1, close);
}
