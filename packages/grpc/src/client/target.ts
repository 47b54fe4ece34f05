import { MeshError } from 'inmesh';

/** Where a channel leads. */
export interface Target {
  /** What the mesh routes by: `http://greeter:50051`. */
  readonly origin: string;
  /** `greeter:50051`; `localhost` for a socket. */
  readonly authority: string;
  /** Path of a Unix socket (`@name` for an abstract one); absent: it is a host. */
  readonly socketPath?: string;
}

/** gRPC's port where a target names none (gRPC naming). */
const defaultPort = 443;

const resolvers: ReadonlySet<string> = new Set(['dns', 'passthrough', 'xds', 'ipv4', 'ipv6']);

/**
 * Reads a target in gRPC's words: `greeter:50051`, `dns:///greeter:50051`, `xds:///greeter:50051`,
 * `passthrough:///greeter:50051`, `ipv4:10.0.0.7:50051`, `ipv6:[::1]:50051`, `unix:/run/greeter.sock`,
 * `unix-abstract:greeter`. Who resolves names is the mesh, whichever of these it is; an authority
 * (`dns://8.8.8.8/greeter`) has nobody to ask.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`
 */
export function parseTarget(target: string): Target {
  const scheme = target.slice(0, Math.max(0, target.indexOf(':')));
  const rest = target.slice(scheme.length + 1);
  if (scheme === 'unix') return socket(rest.startsWith('//') ? rest.slice(2) : rest, target);
  if (scheme === 'unix-abstract') return socket(`@${rest}`, target);
  // `dns` may be the name of a host: only with something that is no port behind it, it is a scheme.
  if (!resolvers.has(scheme) || isPort(rest)) return host(target, target);
  if (!rest.startsWith('//')) return host(rest, target);
  const slash = rest.indexOf('/', 2);
  if (slash === -1) throw unreadable(target);
  if (slash > 2) {
    throw invalid(target, `names a server to ask (${rest.slice(2, slash)}): the mesh resolves names itself`);
  }
  return host(rest.slice(slash + 1), target);
}

function host(text: string, target: string): Target {
  if (text.includes(',')) throw invalid(target, 'names several addresses: a ServiceEntry has such');
  const bare = text.includes(':') && !text.startsWith('[') && text.indexOf(':') !== text.lastIndexOf(':');
  const named = bare ? `[${text}]` : text;
  const hasPort = /:\d+$/.test(named);
  const authority = hasPort ? named : `${named}:${defaultPort}`;
  const url = URL.parse(`http://${authority}`);
  if (url === null || url.pathname !== '/' || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw unreadable(target);
  }
  return { origin: url.origin, authority: hasPort ? authority : named };
}

function socket(socketPath: string, target: string): Target {
  if (socketPath === '' || socketPath === '@') throw unreadable(target);
  return { origin: 'http://localhost', authority: 'localhost', socketPath };
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text);
}

function unreadable(target: string): MeshError {
  return invalid(target, 'must be a host and a port, or a path behind unix:');
}

function invalid(target: string, what: string): MeshError {
  return new MeshError('ERR_MESH_OPTION_INVALID', `gRPC target ${JSON.stringify(target)}: ${what}`);
}
