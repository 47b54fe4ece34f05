import { meets, type RouteChoice, type RouteEntry } from './entry.ts';
import type { RoutableRequest } from './request-view.ts';

/** An entry with its place in the order of the virtual host. */
interface Placed {
  readonly entry: RouteEntry;
  readonly place: number;
}

/** Entries by a text that a path must be or begin with, each list in order. */
type ByText = Map<string, Placed[]>;

/**
 * Finds the first entry that matches without asking all of them: exact paths and prefixes are looked
 * up, the others (regular expressions, any path, ignored case) are asked one by one up to the place
 * of what was found. Cost follows the number of different prefix lengths, not that of the entries.
 */
export function createPathIndex(
  entries: readonly RouteEntry[],
): (request: RoutableRequest, path: string) => RouteChoice | undefined {
  const exact: ByText = new Map();
  const prefixes = new Map<number, ByText>();
  const others: Placed[] = [];
  entries.forEach((entry, place) => {
    const { path, pathIgnoreCase } = entry.choice.match ?? {};
    const placed = { entry, place };
    if (path === undefined || path.kind === 'present' || pathIgnoreCase === true) others.push(placed);
    else if (path.kind === 'exact') addTo(exact, path.value, placed);
    else if (path.kind === 'prefix') {
      const { length } = path.value;
      let ofLength = prefixes.get(length);
      if (ofLength === undefined) prefixes.set(length, (ofLength = new Map()));
      addTo(ofLength, path.value, placed);
    } else others.push(placed);
  });
  const byLength = [...prefixes].map(([length, texts]) => ({ length, texts }));

  return (request, path) => {
    let found = firstOf(exact.get(path), request, undefined);
    for (const { length, texts } of byLength) {
      if (length <= path.length) found = firstOf(texts.get(path.slice(0, length)), request, found);
    }
    for (const placed of others) {
      if (found !== undefined && placed.place > found.place) break;
      const { entry } = placed;
      if ((entry.path === undefined || entry.path(path)) && meets(entry, request)) return entry.choice;
    }
    return found?.entry.choice;
  };
}

function addTo(map: ByText, text: string, placed: Placed): void {
  const list = map.get(text);
  if (list === undefined) map.set(text, [placed]);
  else list.push(placed);
}

/** The first of the candidates that matches and stands before what was found so far, else that. */
function firstOf(
  candidates: readonly Placed[] | undefined,
  request: RoutableRequest,
  found: Placed | undefined,
): Placed | undefined {
  if (candidates === undefined) return found;
  for (const placed of candidates) {
    if (found !== undefined && placed.place > found.place) return found;
    if (meets(placed.entry, request)) return placed;
  }
  return found;
}
