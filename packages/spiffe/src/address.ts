import { isIPv4, isIPv6 } from 'node:net';
import { MeshError } from 'inmesh/identity';

/** The variable that says where the Workload API is, for whoever is not told otherwise. */
export const endpointVariable = 'SPIFFE_ENDPOINT_SOCKET';

/** Where a Workload API is served. */
export interface EndpointAddress {
  /** As it was given, for messages. */
  readonly uri: string;
  /** The same for grpc-js. */
  readonly target: string;
}

/** Linux takes 107 bytes, macOS 103; longer ones fail with an error that does not say why. */
const maxSocketPathBytes = process.platform === 'darwin' ? 103 : 107;

/**
 * Reads the address of a Workload API, as section 4 of the SPIFFE Workload Endpoint standard has it:
 * `unix:///absolute/path` or `tcp://<IP address>:<port>`, and nothing else in either.
 *
 * @param from what is to blame in the message: an option or a variable
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function parseEndpoint(uri: string, from: string): EndpointAddress {
  const refuse = (reason: string): never => {
    const expected = 'expected unix:///absolute/path or tcp://<IP address>:<port>';
    throw new MeshError(
      'ERR_MESH_OPTION_INVALID',
      `${from}: ${expected}, not ${JSON.stringify(uri.slice(0, 300))}: ${reason}`,
    );
  };
  const colon = uri.indexOf(':');
  // RFC 3986, 3.1: schemes are the same in both cases.
  const scheme = uri.slice(0, Math.max(colon, 0)).toLowerCase();
  const rest = uri.slice(colon + 1);
  if (scheme !== 'unix' && scheme !== 'tcp') refuse('the scheme is neither unix nor tcp');
  if (rest.includes('?')) refuse('it has a query');
  if (rest.includes('#')) refuse('it has a fragment');
  return { uri, target: scheme === 'unix' ? unixTarget(rest, refuse) : tcpTarget(rest, refuse) };
}

type Refuse = (reason: string) => never;

function unixTarget(rest: string, refuse: Refuse): string {
  if (!rest.startsWith('/')) refuse('the path is not absolute');
  const authority = rest.startsWith('//') ? rest.slice(2).split('/', 1)[0] : '';
  if (authority !== '') refuse('it has an authority between // and the path');
  const raw = rest.startsWith('//') ? rest.slice(2) : rest;
  if (raw === '' || raw === '/') refuse('it has no path');
  const path = decoded(raw);
  if (path === undefined) return refuse('its path is not percent-encoded as it should be');
  if (path.includes('\0')) refuse('its path has a zero byte');
  const bytes = Buffer.byteLength(path);
  if (bytes > maxSocketPathBytes) refuse(`its path has ${bytes} bytes, and a socket may have ${maxSocketPathBytes}`);
  return `unix://${path}`;
}

function tcpTarget(rest: string, refuse: Refuse): string {
  if (!rest.startsWith('//')) refuse('it has no host');
  const authority = rest.slice(2);
  if (authority.includes('@')) refuse('it has user information');
  if (authority.includes('/')) refuse('it has a path');
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(authority) ?? [];
  const host = bracketed ?? plain ?? '';
  const known = bracketed === undefined ? isIPv4(host) : isIPv6(host) && !host.includes('%');
  if (!known) refuse('the host is not an IP address (IPv6 in brackets)');
  if (port === undefined || !/^[0-9]{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    refuse('the port is not a number from 1 to 65535');
  }
  return bracketed === undefined ? `ipv4:${host}:${Number(port)}` : `ipv6:[${host}]:${Number(port)}`;
}

function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

/**
 * The address that was given, or else that of `SPIFFE_ENDPOINT_SOCKET`.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when there is none, or it is no address
 */
export function findEndpoint(
  address: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): EndpointAddress {
  if (address !== undefined) return parseEndpoint(address, 'address');
  const value = environment[endpointVariable];
  // An empty variable is how shells unset one.
  if (value === undefined || value === '') {
    throw new MeshError(
      'ERR_MESH_OPTION_INVALID',
      `where is the Workload API? Expected the option address or the variable ${endpointVariable}, for example unix:///run/spire/sockets/agent.sock`,
    );
  }
  return parseEndpoint(value, endpointVariable);
}
