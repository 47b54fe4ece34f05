import { type ListenOptions, MeshError } from 'inmesh';

/**
 * Host and port of the address that `bindAsync` is given: `0.0.0.0:50051`, `[::]:0`, `localhost:50051`, also
 * with `dns:`, `ipv4:` or `ipv6:` in front, as in gRPC's naming.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for anything else
 */
export function listenAddress(text: string): Required<Pick<ListenOptions, 'host' | 'port'>> {
  const plain = text.replace(/^(dns:(\/\/\/)?|ipv[46]:)/, '');
  const colon = plain.lastIndexOf(':');
  const host = withoutBrackets(plain.slice(0, Math.max(0, colon)));
  const port = plain.slice(colon + 1);
  if (host !== undefined && /^\d{1,5}$/.test(port) && Number(port) <= 65_535) return { host, port: Number(port) };
  const expected = 'must be host:port, for example 0.0.0.0:50051 or [::]:50051';
  throw new MeshError(
    'ERR_MESH_OPTION_INVALID',
    `the address of a gRPC server ${expected}, not ${JSON.stringify(text)}`,
  );
}

function withoutBrackets(host: string): string | undefined {
  if (host.startsWith('[') && host.endsWith(']')) return host.slice(1, -1);
  return host === '' || /[:/\s]/.test(host) ? undefined : host;
}

/** The same as a key: what `unbind` and `drain` are called with. */
export function addressKey({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
