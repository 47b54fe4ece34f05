import { parseIpAddress } from './ip-address.ts';

/**
 * The caller's address as trusted proxies tell it. Each of them has added, at the right end of
 * `x-forwarded-for`, the address that it was called from; so with `trusted` of them the address is
 * the `trusted`-th from the right, over all lines of the header (Envoy `xff_num_trusted_hops` with
 * `use_remote_address`). Only that one is looked at, however long the list is.
 *
 * Who sends fewer than that did not come through all of the proxies: the peer of the connection
 * counts, as without any. Nothing where a proxy wrote what is no address: it is not known who called.
 */
export function remoteAddressOf(
  peer: string | undefined,
  rawHeaders: readonly string[],
  trusted: number,
): string | undefined {
  if (trusted === 0) return peer;
  let left = trusted;
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    const name = rawHeaders[i] as string;
    if (name.length !== header.length || name.toLowerCase() !== header) continue;
    const line = rawHeaders[i + 1] as string;
    let end = line.length;
    while (end >= 0) {
      const comma = end === 0 ? -1 : line.lastIndexOf(',', end - 1);
      if (--left === 0) return addressIn(line.slice(comma + 1, end));
      end = comma;
    }
  }
  return peer;
}

const header = 'x-forwarded-for';

/** Longer than any address: not worth a look. */
const longest = 64;

function addressIn(entry: string): string | undefined {
  if (entry.length > longest) return undefined;
  const text = entry.trim();
  return parseIpAddress(text) === undefined ? undefined : text;
}
