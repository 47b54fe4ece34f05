import { type PathReading, pathViews } from './path-views.ts';
import { type PrefixTree, prefixTree } from './prefix-tree.ts';
import type { AuthorizationFacts, Condition, DerivedFacts } from './rule.ts';
import { type Dimension, dimensions, type Keys, type LookUp, lookUps, type RuleKeys } from './rule-keys.ts';

/** A rule with its place among all, and what it can be found by. */
export interface IndexedRule {
  readonly matches: Condition;
  readonly keys: RuleKeys;
}

/** Position of the first rule that matches; -1 when none does. */
export type FindRule = (facts: AuthorizationFacts, derived: DerivedFacts) => number;

/** So few are asked one after the other: looking them up costs as much. */
const few = 4;

/**
 * Finds the first of many rules that matches at a cost that follows the rules that could match, and
 * not those that exist. Each rule is put where the fewest others are: by caller, path, host, method or
 * port; where many still meet, they are told apart by what is left. A rule that has no simple side
 * is always asked. Looking up never decides: every rule that is found is asked in full.
 *
 * @param viewed the paths of rules were given in all forms: all views of a path are looked up, not
 *   the canonical path alone
 */
export function indexRules(rules: readonly IndexedRule[], viewed: boolean): FindRule {
  const room = roomFor(rules.length);
  const all = rules.map(({ matches, keys }, ordinal): Entry => ({ matches, keys, ordinal, names: namesOfSides(keys) }));
  const root = build(all, dimensions, room);
  const none = rules.length;
  let pathless: IndexNode | undefined;
  return (facts, derived) => {
    let from = root;
    if (viewed && root.paths !== undefined && (derived.views ??= pathViews(facts.path, facts.rawPath)) === 'doubt') {
      // A path that could be any tells no rules apart, but the other sides do. Few requests ever need this.
      from = pathless ??= build(all, pathlessDimensions, roomFor(none));
    }
    const found = search(from, facts, derived, none, viewed);
    return found === none ? -1 : found;
  };
}

const pathlessDimensions: readonly Dimension[] = dimensions.filter((side) => side !== 'path');

/** Rules with many keys on many sides would meet in too many places, and counting them would take long. */
function roomFor(rules: number): Room {
  return { left: 20 * rules + 1_000, looks: 200 * rules + 10_000 };
}

interface Entry extends IndexedRule {
  readonly ordinal: number;
  readonly names: Names;
}

/** The keys of each side as one text each. */
type Names = Partial<Readonly<Record<Dimension, readonly string[]>>>;

interface Room {
  /** Places in which rules may be put. */
  left: number;
  /** Keys that may be counted. */
  looks: number;
}

interface IndexNode {
  /** Asked always, in order. */
  readonly rest: readonly Entry[];
  readonly tables: readonly Table[];
  readonly paths: PathTable | undefined;
}

interface Table {
  readonly keyOf: (typeof lookUps)[LookUp];
  readonly nodes: ReadonlyMap<string | number, IndexNode>;
}

interface PathTable {
  readonly exact: ReadonlyMap<string, IndexNode>;
  readonly prefixes: PrefixTree<IndexNode> | undefined;
}

function build(entries: readonly Entry[], sides: readonly Dimension[], room: Room): IndexNode {
  if (entries.length <= few || sides.length === 0 || room.left < entries.length || room.looks < 0) {
    return { rest: entries, tables: [], paths: undefined };
  }
  const rest: Entry[] = [];
  const places = new Places();
  const counts = countKeys(entries, sides, room);
  for (const entry of entries) {
    const side = bestSide(entry.names, sides, counts, entries.length);
    const keys = side && entry.keys[side];
    const needed = keys === undefined ? 0 : keys.texts.length + keys.paths.exact.length + keys.paths.prefixes.length;
    if (side === undefined || keys === undefined || needed > room.left) rest.push(entry);
    else {
      room.left -= needed;
      places.put(entry, side, keys);
    }
  }
  return places.build(rest, sides, room);
}

/** Rules that share a key, and the sides that were not used to bring them there. */
interface Place {
  readonly entries: Set<Entry>;
  readonly sides: Set<Dimension>;
}

class Places {
  readonly #texts = new Map<LookUp, Map<string | number, Place>>();
  readonly #exact = new Map<string, Place>();
  readonly #prefixes = new Map<string, Place>();

  put(entry: Entry, side: Dimension, { texts, paths }: Keys): void {
    for (const { by, key } of texts) {
      let table = this.#texts.get(by);
      if (table === undefined) this.#texts.set(by, (table = new Map()));
      add(table, key, entry, side);
    }
    for (const key of paths.exact) add(this.#exact, key, entry, side);
    for (const key of paths.prefixes) add(this.#prefixes, key, entry, side);
  }

  build(rest: readonly Entry[], sides: readonly Dimension[], room: Room): IndexNode {
    const nodesOf = <K>(places: ReadonlyMap<K, Place>): Map<K, IndexNode> =>
      new Map(
        [...places].map(([key, place]) => {
          const left = sides.filter((side) => !place.sides.has(side));
          return [key, build([...place.entries], left, room)];
        }),
      );
    const tables = [...this.#texts].map(([by, places]): Table => ({ keyOf: lookUps[by], nodes: nodesOf(places) }));
    const exact = nodesOf(this.#exact);
    const prefixes = this.#prefixes.size === 0 ? undefined : prefixTree(nodesOf(this.#prefixes));
    const paths = exact.size === 0 && prefixes === undefined ? undefined : { exact, prefixes };
    return { rest, tables, paths };
  }
}

function add<K>(places: Map<K, Place>, key: K, entry: Entry, side: Dimension): void {
  const place = places.get(key);
  if (place === undefined) places.set(key, { entries: new Set([entry]), sides: new Set([side]) });
  else {
    place.entries.add(entry);
    place.sides.add(side);
  }
}

type Counts = ReadonlyMap<Dimension, ReadonlyMap<string, number>>;

/** How many rules have each key. */
function countKeys(entries: readonly Entry[], sides: readonly Dimension[], room: Room): Counts {
  return new Map(
    sides.map((side) => {
      const counts = new Map<string, number>();
      for (const { names } of entries) {
        const found = names[side];
        if (found === undefined) continue;
        room.looks -= found.length;
        for (const name of found) counts.set(name, (counts.get(name) ?? 0) + 1);
      }
      return [side, counts];
    }),
  );
}

/** The side on which a rule meets the fewest others; nothing when it meets all of them on each. */
function bestSide(names: Names, sides: readonly Dimension[], counts: Counts, all: number): Dimension | undefined {
  let best: Dimension | undefined;
  let fewest = all;
  for (const side of sides) {
    const found = names[side];
    const known = counts.get(side);
    if (found === undefined || known === undefined) continue;
    let meets = 0;
    for (let i = 0; i < found.length && i < 1_000; i++) meets = Math.max(meets, known.get(found[i] as string) ?? 0);
    if (meets < fewest) {
      best = side;
      fewest = meets;
    }
  }
  return best;
}

function namesOfSides(keys: RuleKeys): Names {
  const names: Partial<Record<Dimension, readonly string[]>> = {};
  for (const side of dimensions) {
    const found = keys[side];
    if (found !== undefined) names[side] = [...new Set(namesOf(found))];
  }
  return names;
}

function namesOf({ texts, paths }: Keys): readonly string[] {
  return [
    ...texts.map(({ by, key }) => `${by} ${key}`),
    ...paths.exact.map((key) => `=${key}`),
    ...paths.prefixes.map((key) => `^${key}`),
  ];
}

/** The lowest position below `best` of a rule that matches, or `best`. */
function search(
  node: IndexNode,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  best: number,
  viewed: boolean,
): number {
  let found = best;
  for (const { matches, ordinal } of node.rest) {
    if (ordinal >= found) break;
    if (matches(facts, derived)) {
      found = ordinal;
      break;
    }
  }
  for (const { keyOf, nodes } of node.tables) {
    const key = keyOf(facts, derived);
    if (typeof key === 'object') {
      for (const each of key) {
        const next = nodes.get(each);
        if (next !== undefined) found = search(next, facts, derived, found, viewed);
      }
      continue;
    }
    const next = key === undefined ? undefined : nodes.get(key);
    if (next !== undefined) found = search(next, facts, derived, found, viewed);
  }
  return node.paths === undefined ? found : searchPaths(node.paths, facts, derived, found, viewed);
}

function searchPaths(
  table: PathTable,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  best: number,
  viewed: boolean,
): number {
  const views: PathReading = viewed ? (derived.views ??= pathViews(facts.path, facts.rawPath)) : 'plain';
  if (views === 'doubt') return searchAll(table, facts, derived, best);
  let found = searchPath(table, facts.path, facts, derived, best, viewed);
  if (views === 'plain') return found;
  for (const view of views.canonical) found = searchPath(table, view, facts, derived, found, viewed);
  for (const view of views.suspect) found = searchPath(table, view, facts, derived, found, viewed);
  return found;
}

/** A path that could be any. */
function searchAll(
  { exact, prefixes }: PathTable,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  best: number,
): number {
  let found = best;
  for (const node of exact.values()) found = search(node, facts, derived, found, true);
  const trees = prefixes === undefined ? [] : [prefixes];
  for (let tree = trees.pop(); tree !== undefined; tree = trees.pop()) {
    if (tree.value !== undefined) found = search(tree.value, facts, derived, found, true);
    trees.push(...tree.children.values());
  }
  return found;
}

function searchPath(
  { exact, prefixes }: PathTable,
  path: string,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  best: number,
  viewed: boolean,
): number {
  const whole = exact.get(path);
  let found = whole === undefined ? best : search(whole, facts, derived, best, viewed);
  let node = prefixes;
  let at = 0;
  while (node !== undefined) {
    if (node.value !== undefined) found = search(node.value, facts, derived, found, viewed);
    const next: PrefixTree<IndexNode> | undefined = node.children.get(path.charCodeAt(at));
    if (next === undefined || !path.startsWith(next.label, at)) break;
    at += next.label.length;
    node = next;
  }
  return found;
}
