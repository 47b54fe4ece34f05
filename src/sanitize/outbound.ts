import { forwardedClientCertHeader } from '../lib/forwarded-client-cert.ts';
import type { HeaderChanges } from '../lib/header-edit.ts';
import { type HeaderList, takeHeader } from '../lib/header-list.ts';

/**
 * Removes what an application cannot assert: `x-forwarded-client-cert` says who called, as a hop has
 * verified it, and a sidecar removes what its application says of that, too (its connection to the
 * sidecar has no certificate). A route's own header rules come after this and may set it.
 *
 * @returns whether there was anything to remove
 */
export function dropAssertions(headers: HeaderList): boolean {
  return headers.length > 0 && takeHeader(headers, forwardedClientCertHeader) !== undefined;
}

/** The same as a change of headers. */
export const withoutAssertions: HeaderChanges = { remove: [forwardedClientCertHeader], set: [], add: [] };
