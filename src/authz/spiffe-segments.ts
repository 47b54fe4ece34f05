import type { Peer } from '../pipeline/scope.ts';

/** What stands behind segments `ns` and `sa` of a SPIFFE ID; a list where there are several, nothing where there is none. */
interface Segments {
  readonly namespaces: string | readonly string[] | undefined;
  /** `<namespace>/<service account>`, each with each. */
  readonly accounts: string | readonly string[] | undefined;
}

const known = new WeakMap<Peer, Segments>();

/** Read once for each connection, which keeps its peer. */
function segmentsOf(peer: Peer): Segments {
  let segments = known.get(peer);
  if (segments === undefined) known.set(peer, (segments = read(peer)));
  return segments;
}

function read({ spiffeId }: Peer): Segments {
  const parts = spiffeId.split('/');
  const behind = (name: string): readonly string[] => [
    ...new Set(parts.flatMap((part, i) => (i > 0 && parts[i - 1] === name ? [part] : []))),
  ];
  const namespaces = behind('ns');
  const accounts = behind('sa');
  const pairs = namespaces.flatMap((namespace) => accounts.map((account) => `${namespace}/${account}`));
  return { namespaces: lone(namespaces), accounts: lone(pairs) };
}

function lone(list: readonly string[]): Segments['accounts'] {
  return list.length > 1 ? list : list[0];
}

/** What stands behind `/ns/`, wherever that is in the ID: one of these is what a pattern with `/ns/shop/` in it matches. */
export function namespacesIn(peer: Peer): Segments['namespaces'] {
  return segmentsOf(peer).namespaces;
}

/** The same with what stands behind `/sa/`: `shop/web`. */
export function accountsIn(peer: Peer): Segments['accounts'] {
  return segmentsOf(peer).accounts;
}
