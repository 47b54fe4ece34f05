import { rootOfName } from '../lib/query-name.ts';

/**
 * Takes out of a parsed query what the mesh has taken out of the URL: tokens that the application is
 * not to see. What an external authorizer has set there is set here. For adapters of frameworks that
 * parse the query before the mesh sees the request.
 *
 * @param before the URL of the request before the mesh had it
 * @param after the same afterwards
 * @param query what the framework made of `before`; changed in place
 */
export function dropRemovedQuery(before: string, after: string, query: unknown): void {
  if (before === after || typeof query !== 'object' || query === null) return;
  const was = parametersOf(before);
  const is = parametersOf(after);
  const names = new Set([...was.keys(), ...is.keys()]);
  const changed = new Set([...names].filter((name) => !isSame(is.getAll(name), was.getAll(name))).map(rootOfName));
  for (const name of names) {
    const root = rootOfName(name);
    if (!changed.has(root)) continue;
    Reflect.deleteProperty(query, root);
    Reflect.deleteProperty(query, name);
  }
  for (const name of new Set(is.keys())) {
    if (!changed.has(rootOfName(name))) continue;
    const values = is.getAll(name);
    const value = values.length === 1 ? values[0] : values;
    Object.defineProperty(query, name, { value, writable: true, enumerable: true, configurable: true });
  }
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((each, index) => each === others[index]);
}

function parametersOf(url: string): URLSearchParams {
  const mark = url.indexOf('?');
  return new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1));
}
