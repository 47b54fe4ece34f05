/**
 * Takes out of a parsed query what the mesh has taken out of the URL: tokens that the application is
 * not to see. For adapters of frameworks that parse the query before the mesh sees the request.
 *
 * @param before the URL of the request before the mesh had it
 * @param after the same afterwards
 * @param query what the framework made of `before`; changed in place
 */
export function dropRemovedQuery(before: string, after: string, query: unknown): void {
  if (before === after || typeof query !== 'object' || query === null) return;
  const left = namesOf(after);
  for (const name of namesOf(before)) {
    if (!left.has(name)) Reflect.deleteProperty(query, name);
  }
}

function namesOf(url: string): ReadonlySet<string> {
  const mark = url.indexOf('?');
  return new Set(mark === -1 ? [] : new URLSearchParams(url.slice(mark + 1)).keys());
}
