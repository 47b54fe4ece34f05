import type { Peer } from '../pipeline/scope.ts';

/** A namespace that an identity names, and the accounts that it names behind it. */
export interface NamedAccounts {
  readonly namespace: string;
  /** `<namespace>/<service account>`. */
  readonly accounts: readonly string[];
}

const none: readonly NamedAccounts[] = [];
const known = new WeakMap<Peer, readonly NamedAccounts[]>();

/**
 * What an identity of another form than Istio's names beside other things: `/ns/shop/sa/web/pod/7` has the
 * namespace `shop` and the account `shop/web`. Istio looks for `/ns/<namespace>/` anywhere in an identity, and
 * behind it for `/sa/<account>`; to refuse, that counts here, too. Read once for each connection.
 *
 * @returns nothing for callers whose identity has Istio's form: they have the one account
 */
export function namedAccounts(peer: Peer): readonly NamedAccounts[] {
  if (peer.namespace !== undefined) return none;
  let found = known.get(peer);
  if (found === undefined) known.set(peer, (found = read(peer.spiffeId)));
  return found;
}

function read(spiffeId: string): readonly NamedAccounts[] {
  if (!spiffeId.includes('/ns/')) return none;
  const parts = spiffeId.slice('spiffe://'.length).split('/').slice(1);
  return parts.flatMap((part, at): readonly NamedAccounts[] => {
    const namespace = parts[at + 1];
    // Something follows the namespace, else it is the end of a path.
    if (part !== 'ns' || namespace === undefined || at + 2 >= parts.length) return none;
    const behind = parts.slice(at + 2);
    const accounts = behind.flatMap((each, i) => {
      const account = behind[i + 1];
      return each === 'sa' && account !== undefined ? [`${namespace}/${account}`] : [];
    });
    return [{ namespace, accounts }];
  });
}
