/** Finds all of many prefixes that a text begins with, at a cost that follows the text. */
export interface PrefixTree<T> {
  /** The text from the parent to here. */
  readonly label: string;
  /** What belongs to the prefix that ends here; nothing when none does. */
  readonly value: T | undefined;
  /** By the first code unit of their labels, which no two share. */
  readonly children: ReadonlyMap<number, PrefixTree<T>>;
}

interface Growing<T> {
  label: string;
  value: T | undefined;
  children: Map<number, Growing<T>>;
}

/** Builds the tree. Walk it from the root: at each child whose label follows in the text, its value counts. */
export function prefixTree<T>(entries: Iterable<readonly [prefix: string, value: T]>): PrefixTree<T> {
  const root: Growing<T> = { label: '', value: undefined, children: new Map() };
  for (const [prefix, value] of entries) insert(root, prefix, value);
  return root;
}

function insert<T>(root: Growing<T>, prefix: string, value: T): void {
  let node = root;
  let rest = prefix;
  while (rest !== '') {
    const first = rest.charCodeAt(0);
    const child = node.children.get(first);
    if (child === undefined) {
      const leaf: Growing<T> = { label: rest, value: undefined, children: new Map() };
      node.children.set(first, leaf);
      node = leaf;
      break;
    }
    const common = commonLength(child.label, rest);
    if (common < child.label.length) split(child, common);
    node = child;
    rest = rest.slice(common);
  }
  node.value = value;
}

/** The node keeps its place with the first part of its label; what it was goes below it. */
function split<T>(node: Growing<T>, at: number): void {
  const lower: Growing<T> = { label: node.label.slice(at), value: node.value, children: node.children };
  node.label = node.label.slice(0, at);
  node.value = undefined;
  node.children = new Map([[lower.label.charCodeAt(0), lower]]);
}

function commonLength(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  let at = 0;
  while (at < end && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at;
}
