import type { Authority } from './authority-types.ts';

/**
 * Calls when another certificate signs, or other roots are the authority's own: what its servers
 * show follows these. What federated trust domains do must not make it issue anything.
 *
 * @returns a function that ends the subscription
 */
export function onOwnChange(authority: Authority, listener: () => void): () => void {
  let { ownBundles, signer } = authority;
  return authority.subscribe(() => {
    const now = { ownBundles: authority.ownBundles, signer: authority.signer };
    if (now.ownBundles === ownBundles && now.signer === signer) return;
    ({ ownBundles, signer } = now);
    listener();
  });
}
