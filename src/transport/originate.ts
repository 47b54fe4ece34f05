import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { MeshError } from '../errors.ts';
import { tlsParameterOptions } from '../identity/tls-options.ts';
import type { OriginatedTls } from '../model/cluster.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import type { ConnectionSecurity } from './connector.ts';
import { nameOfHost } from './server-names.ts';

/** TLS that the mesh speaks for applications that call `http:` (SIMPLE and MUTUAL of a DestinationRule). */
export interface TlsOrigin {
  /**
   * How to speak on a new connection for requests with this Host header; '' for a connection that
   * carries something else. Looks at the files: new ones count from the next connection on, and
   * while they are broken the last good ones do.
   *
   * @throws MeshError `ERR_MESH_TLS_FAILED` when there have never been good files.
   */
  security(host: string): ConnectionSecurity;
}

export interface TlsOriginOptions {
  /** Name of the cluster, for messages. */
  readonly cluster: string;
  /** The name of the server where neither configuration nor request has one. */
  readonly host: string;
  /** Protocols to offer; none for connections that carry something else than HTTP. */
  readonly alpn: readonly string[];
  /** Absent: TLS 1.2 and newer, with the suites and curves of Node.js. */
  readonly parameters?: TlsParameters | undefined;
}

/** The files that this TLS needs. */
export function filesOf({ rootFile, revocationFile, client }: OriginatedTls): readonly string[] {
  const files = [rootFile, revocationFile, client?.certificateFile, client?.keyFile];
  return files.filter((file) => file !== undefined);
}

export function createTlsOrigin(
  tls: OriginatedTls,
  { cluster, host: serviceHost, alpn, parameters }: TlsOriginOptions,
): TlsOrigin {
  const files = filesOf(tls);
  /** What the files looked like when they were read last, for good or bad. */
  let seen: string | undefined;
  let context: SecureContext | undefined;
  let failure: unknown;

  const current = (): SecureContext => {
    try {
      const before = fingerprint(files);
      if (before !== seen) {
        const fresh = load(tls, parameters);
        // What changes while it is read is looked at again with the next connection.
        if (fingerprint(files) === before) seen = before;
        context = fresh;
        failure = undefined;
      }
    } catch (error) {
      failure = error;
    }
    if (context !== undefined) return context;
    const reason = failure instanceof Error ? failure.message : String(failure);
    const message = `TLS to ${serviceHost} cannot be set up: ${reason}`;
    throw new MeshError('ERR_MESH_TLS_FAILED', message, { cause: failure, cluster });
  };

  return {
    security(host) {
      if (tls.unavailable !== undefined) {
        const message = `TLS to ${serviceHost} cannot be set up: ${tls.unavailable}`;
        throw new MeshError('ERR_MESH_TLS_FAILED', message, { cluster });
      }
      const called = host === '' ? serviceHost : nameOfHost(host);
      const serverName = tls.serverName ?? called;
      return {
        kind: 'originated',
        context: current(),
        // An address is not announced (RFC 6066 section 3), but its certificate must have it.
        serverName: isIP(serverName) === 0 && !serverName.startsWith('*') ? serverName : '',
        alpn,
        names: tls.verify ? (tls.subjectAltNames.length > 0 ? tls.subjectAltNames : [serverName]) : undefined,
        // What is not HTTP names no host: Envoy's `tcp_proxy` asks for the other names alone.
        ...(tls.verify && tls.verifyHost === true && host !== '' ? { called } : {}),
      };
    },
  };
}

/** Changes whenever one of the files does: also when a symbolic link is turned to another folder. */
function fingerprint(files: readonly string[]): string {
  let print = '';
  for (const file of files) {
    const { dev, ino, size, mtimeNs } = statSync(file, { bigint: true });
    print += `${dev}.${ino}.${size}.${mtimeNs} `;
  }
  return print;
}

function load(
  { rootFile, revocationFile, client }: OriginatedTls,
  parameters: TlsParameters | undefined,
): SecureContext {
  return createSecureContext({
    // Their lowest version is Envoy's for clients, as Istio sets it.
    ...tlsParameterOptions(parameters),
    // An empty file must not mean the roots that Node trusts.
    ...(rootFile === undefined ? {} : { ca: readPem(rootFile, 'CERTIFICATE') }),
    ...(revocationFile === undefined ? {} : { crl: readPem(revocationFile, 'X509 CRL') }),
    ...(client === undefined ? {} : { cert: read(client.certificateFile), key: read(client.keyFile) }),
  });
}

function read(file: string): string {
  return readFileSync(file, 'utf8');
}

/** Node skips what is not PEM without a word. */
function readPem(file: string, label: string): string {
  const text = read(file);
  if (text.includes(`-----BEGIN ${label}-----`)) return text;
  throw new MeshError('ERR_MESH_TLS_FAILED', `${file} holds no PEM block ${label}`);
}
