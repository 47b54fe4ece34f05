import { isIP } from 'node:net';
import { MeshError } from 'inmesh/identity';

/** A control plane. */
export interface XdsServer {
  /** `host:port`, or `unix:/path`. */
  readonly address: string;
  /** `false`: plaintext. Default: TLS with the roots of Istio's config map. */
  readonly tls?: false | XdsTls;
  /** File with a token that is sent as `authorization: Bearer`, read anew for every stream. Only over TLS. */
  readonly tokenFile?: string;
  /** What gRPC's bootstrap calls `server_features`; see docs/xds.md for those that mean something here. */
  readonly features?: readonly string[];
}

/** How the connection to a control plane is secured. */
export interface XdsTls {
  /**
   * Roots that the control plane's certificate must chain to: PEM, or the path of a PEM file, read
   * anew for every stream. `SYSTEM`: what Node.js trusts. With `identity` the default is the roots of the
   * own trust domain, else Istio's config map where it is usually mounted,
   * `/var/run/secrets/istio/root-cert.pem`.
   */
  readonly trustRoot?: string;
  /** DNS name that the certificate must have. Default: the host of the address. */
  readonly serverName?: string;
  /** Certificate of this process, PEM file; goes with `keyFile`. Read anew for every stream. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** Show the certificate of the mesh's own identity. Waits until there is one. */
  readonly identity?: boolean;
}

/** What a wrong option is reported as. */
export function invalid(option: string, reason: string, value?: unknown): MeshError {
  const given = value === undefined ? '' : `, not ${JSON.stringify(value)?.slice(0, 200)}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', `xdsSource: ${option}: ${reason}${given}`);
}

/** The host of an address; '' for a socket of the file system. @throws MeshError `ERR_MESH_OPTION_INVALID` */
export function hostOf(address: string, option: string): string {
  if (/^unix:(\/|\.)./.test(address)) return '';
  const found = /^(?:dns:\/\/\/|dns:)?(\[[0-9a-fA-F:.]+\]|[^\s:/?#@]+):(\d{1,5})$/.exec(address);
  const port = Number(found?.[2]);
  if (found === null || port < 1 || port > 65_535) throw invalid(option, 'expected host:port or unix:/path', address);
  return (found[1] as string).replace(/^\[|\]$/g, '');
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` naming the option */
export function checkServer(server: XdsServer, option: string): void {
  const host = hostOf(server.address, `${option}.address`);
  const { tls, tokenFile } = server;
  // A token is as good as a password: whoever reads it is this process.
  if (tls === false && tokenFile !== undefined) throw invalid(`${option}.tokenFile`, 'a token is sent over TLS only');
  if (tls === undefined || tls === false) return;
  if ((tls.certificateFile === undefined) !== (tls.keyFile === undefined)) {
    throw invalid(`${option}.tls`, 'expected certificateFile and keyFile together');
  }
  if (tls.identity === true && tls.certificateFile !== undefined) {
    throw invalid(`${option}.tls`, 'expected identity or certificateFile, not both');
  }
  if (tls.serverName !== undefined && isIP(tls.serverName) !== 0) {
    throw invalid(`${option}.tls.serverName`, 'expected a DNS name', tls.serverName);
  }
  if (host === '' && tls.serverName === undefined) {
    throw invalid(`${option}.tls.serverName`, 'expected a DNS name where the address has none');
  }
}
