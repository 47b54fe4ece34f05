import type { OriginatedTls, TlsParameters, UpstreamTls } from 'inmesh/model';
import { type Any, typeOf } from '../proto/any.ts';
import type { TransportSocket } from '../proto/envoy/base.ts';
import type { Cluster } from '../proto/envoy/cluster.ts';
import type { TransportSocketMatch } from '../proto/envoy/cluster-parts.ts';
import type { UpstreamHttpProtocolOptions } from '../proto/envoy/http-protocol-options.ts';
import { proxyProtocolUpstreamTransportSchema } from '../proto/envoy/proxy-protocol.ts';
import type { CommonTlsContext, UpstreamTlsContext } from '../proto/envoy/tls-context.ts';
import { upstreamTlsContextSchema } from '../proto/envoy/tls-context.ts';
import type { CertificateValidationContext } from '../proto/envoy/tls-validation.ts';
import { ResourceError } from '../resources.ts';
import type { Remarks } from './outbound-remarks.ts';
import { tlsParametersOf } from './tls-parameters.ts';
import { unpackAt } from './unpack.ts';

/** How the endpoints of a cluster are spoken to. */
export interface ReadTls {
  readonly tls: UpstreamTls;
  /** What of it may be spoken; absent: all. */
  readonly tlsParameters?: TlsParameters;
  readonly serverName?: string;
  /** Identities that the servers of mesh TLS may prove. */
  readonly serverIdentities: readonly string[];
  /** Metadata of endpoints (`envoy.transport_socket_match`) that says that they accept mesh TLS. */
  readonly speaksMtls?: Readonly<Record<string, string>>;
  /** Version of the PROXY protocol that connections begin with. */
  readonly proxyProtocol?: 1 | 2;
}

/** What the rest of a cluster says of its TLS. */
export interface TlsSurroundings {
  /** SNIs that need no word. */
  readonly defaultServerNames: readonly string[];
  readonly upstream: Pick<UpstreamHttpProtocolOptions, 'auto_san_validation'> | undefined;
}

const plaintext: ReadTls = { tls: 'disable', serverIdentities: [] };

/**
 * The transport socket of a cluster. Istio's automatic mTLS are two of them: the first for endpoints
 * whose metadata say `tlsMode: istio`, the other, plaintext, for the rest.
 */
export function tlsOf(cluster: Cluster, around: TlsSurroundings, remarks: Remarks): ReadTls {
  // HBONE goes to endpoints inside of Envoy, and those are left out.
  const matches = cluster.transport_socket_matches
    .map((match, index) => ({ match, path: `transport_socket_matches[${index}]` }))
    .filter(({ match }) => match.match?.['tunnel'] === undefined);
  const read = (socket: TransportSocket | undefined, path: string): ReadTls =>
    readSocket(socket, path, around, remarks);
  if (matches.length === 0) return read(cluster.transport_socket, 'transport_socket');
  const [first, second] = matches as [Candidate, Candidate | undefined];
  if (isEverything(first.match)) return read(first.match.transport_socket, `${first.path}.transport_socket`);
  const wanted = criteriaOf(first);
  const mesh = read(first.match.transport_socket, `${first.path}.transport_socket`);
  const rest =
    second === undefined || !isEverything(second.match)
      ? read(cluster.transport_socket, 'transport_socket')
      : read(second.match.transport_socket, `${second.path}.transport_socket`);
  if (mesh.proxyProtocol !== rest.proxyProtocol) {
    throw new ResourceError('transport_socket_matches', 'expected the same PROXY protocol for all endpoints', {
      unenforceable: true,
    });
  }
  if (mesh.tls !== 'mutual' || rest.tls !== 'disable' || (second !== undefined && !isEverything(second.match))) {
    throw new ResourceError(
      'transport_socket_matches',
      'expected mesh TLS for some endpoints and plaintext for others',
      {
        value: cluster.transport_socket_matches.map(({ name }) => name),
        unenforceable: true,
      },
    );
  }
  return { ...mesh, tls: 'auto', speaksMtls: wanted };
}

interface Candidate {
  readonly match: TransportSocketMatch;
  readonly path: string;
}

function isEverything({ match }: TransportSocketMatch): boolean {
  return match === undefined || Object.keys(match).length === 0;
}

function criteriaOf({ match: { match = {} }, path }: Candidate): Readonly<Record<string, string>> {
  const wanted: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(match)) {
    if (typeof value !== 'string') {
      throw new ResourceError(`${path}.match.${name}`, 'expected a text', { value, unenforceable: true });
    }
    wanted[name] = value;
  }
  return wanted;
}

function readSocket(
  socket: TransportSocket | undefined,
  path: string,
  around: TlsSurroundings,
  remarks: Remarks,
): ReadTls {
  if (socket === undefined) return plaintext;
  const config = socket.typed_config;
  if (config === undefined ? socket.name === 'envoy.transport_sockets.raw_buffer' : isRaw(config)) return plaintext;
  const at = `${path}.typed_config`;
  const wrapper = unpackAt(proxyProtocolUpstreamTransportSchema, config, at, (field) =>
    remarks.ignored(field, 'the address of the caller is all that is said'),
  );
  if (wrapper !== undefined) {
    const inner = readSocket(wrapper.transport_socket, `${at}.transport_socket`, around, remarks);
    const version = wrapper.config?.version ?? 'V1';
    if (typeof version === 'number') {
      throw new ResourceError(`${at}.config.version`, 'expected V1 or V2', { value: version });
    }
    return { ...inner, proxyProtocol: version === 'V2' ? 2 : 1 };
  }
  const context = unpackAt(upstreamTlsContextSchema, config, at, (field) => remarks.ignored(field, 'not read'));
  if (context === undefined) {
    throw new ResourceError(at, 'expected an UpstreamTlsContext or a RawBuffer', {
      value: config === undefined ? socket.name : typeOf(config),
      unenforceable: true,
    });
  }
  return contextOf(context, at, around, remarks);
}

function isRaw(config: Any): boolean {
  return typeOf(config) === 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer';
}

/** Where a certificate or roots come from. */
type Material =
  /** The identity of this process and the trust of its mesh. */
  | { readonly kind: 'mesh' }
  | { readonly kind: 'files'; readonly certificateFile: string; readonly keyFile: string }
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'system' }
  | { readonly kind: 'none' }
  | { readonly kind: 'unavailable'; readonly why: string };

function contextOf(
  context: UpstreamTlsContext,
  path: string,
  { defaultServerNames, upstream }: TlsSurroundings,
  remarks: Remarks,
): ReadTls {
  const common = context.common_tls_context;
  const at = `${path}.common_tls_context`;
  if (common === undefined) throw new ResourceError(at, 'is missing', { unenforceable: true });
  const own = ownCertificate(common);
  const validation = common.validation_context ?? common.combined_validation_context?.default_validation_context;
  const roots = rootsOf(common, validation);
  const names = validation === undefined ? [] : namesOf(validation, `${at}.validation_context`);
  const serverName = context.sni === '' || defaultServerNames.includes(context.sni) ? {} : { serverName: context.sni };
  const asksForHost = upstream?.auto_san_validation === true;
  const inMesh = own.kind === 'mesh' && roots.kind === 'mesh';
  const parameters = parametersOf(common, inMesh, at, remarks);
  const tlsParameters = parameters === undefined ? {} : { tlsParameters: parameters };
  if (inMesh) {
    if (asksForHost) {
      throw new ResourceError(
        'upstream_http_protocol_options.auto_san_validation',
        'servers of the mesh prove identities, and not hosts',
        { value: true, unenforceable: true },
      );
    }
    if (validation?.crl !== undefined) {
      throw new ResourceError(`${at}.validation_context.crl`, 'revocation in the mesh is that of the trust bundle', {
        unenforceable: true,
      });
    }
    return { tls: 'mutual', ...tlsParameters, ...serverName, serverIdentities: [...new Set(names)].sort() };
  }
  const crl = validation?.crl;
  if (crl !== undefined && crl.filename === undefined) {
    throw new ResourceError(`${at}.validation_context.crl`, 'expected the name of a file', { unenforceable: true });
  }
  const why = whyUnavailable(own, roots);
  const tls: OriginatedTls = {
    mode: own.kind === 'none' ? 'simple' : 'mutual',
    ...serverName,
    subjectAltNames: names,
    // Without other names and without an SNI the host is asked for in any case.
    ...(asksForHost && (names.length > 0 || context.sni !== '') ? { verifyHost: true } : {}),
    ...(roots.kind === 'file' ? { rootFile: roots.file } : {}),
    ...(crl?.filename === undefined ? {} : { revocationFile: crl.filename }),
    ...(own.kind === 'files' ? { client: { certificateFile: own.certificateFile, keyFile: own.keyFile } } : {}),
    // Envoy verifies nothing where it has no roots, and Istio's insecureSkipVerify is just that.
    verify: roots.kind !== 'none' && validation?.trust_chain_verification !== 'ACCEPT_UNTRUSTED',
    ...(why === undefined ? {} : { unavailable: why }),
  };
  if (!tls.verify) remarks.approximated(at, 'any certificate will do: it has no roots to verify with');
  return { tls, ...tlsParameters, serverIdentities: [] };
}

function whyUnavailable(own: Material, roots: Material): string | undefined {
  if (own.kind === 'unavailable') return own.why;
  if (roots.kind === 'unavailable') return roots.why;
  if (own.kind === 'mesh') return "the mesh's own certificate is shown to servers of the mesh only";
  if (roots.kind === 'mesh') return "the mesh's roots are for servers that know their callers";
  return undefined;
}

function ownCertificate(common: CommonTlsContext): Material {
  const { tls_certificate_sds_secret_configs: secrets, tls_certificates: inline } = common;
  const provided = common.tls_certificate_provider_instance ?? common.tls_certificate_certificate_provider_instance;
  if (provided !== undefined) return { kind: 'mesh' };
  const [certificate] = inline;
  if (certificate !== undefined) {
    const certificateFile = certificate.certificate_chain?.filename;
    const keyFile = certificate.private_key?.filename;
    if (certificateFile !== undefined && keyFile !== undefined) return { kind: 'files', certificateFile, keyFile };
    return { kind: 'unavailable', why: 'certificates and keys are read from files, and not from configuration' };
  }
  const [secret] = secrets;
  return secret === undefined ? { kind: 'none' } : ownSecret(secret.name);
}

/** Names of secrets as Istio's agent knows them. */
function ownSecret(name: string): Material {
  if (name === 'default') return { kind: 'mesh' };
  const [certificateFile = '', keyFile = ''] = name.startsWith('file-cert:') ? name.slice(10).split('~') : [];
  if (certificateFile !== '' && keyFile !== '') return { kind: 'files', certificateFile, keyFile };
  return { kind: 'unavailable', why: `there is no secret ${name} here` };
}

function rootsOf(common: CommonTlsContext, validation: CertificateValidationContext | undefined): Material {
  const combined = common.combined_validation_context;
  const provided =
    validation?.ca_certificate_provider_instance ??
    common.validation_context_certificate_provider_instance ??
    combined?.validation_context_certificate_provider_instance;
  if (provided !== undefined) return { kind: 'mesh' };
  const secret = common.validation_context_sds_secret_config ?? combined?.validation_context_sds_secret_config;
  if (secret !== undefined) return rootSecret(secret.name);
  if (validation?.system_root_certs !== undefined) return { kind: 'system' };
  const ca = validation?.trusted_ca;
  if (ca === undefined) return { kind: 'none' };
  if (ca.filename !== undefined) return { kind: 'file', file: ca.filename };
  return { kind: 'unavailable', why: 'roots are read from files, and not from configuration' };
}

function rootSecret(name: string): Material {
  if (name === 'ROOTCA') return { kind: 'mesh' };
  if (name === 'file-root:system' || name === 'system') return { kind: 'system' };
  if (name.startsWith('file-root:') && name.length > 10) return { kind: 'file', file: name.slice(10) };
  return { kind: 'unavailable', why: `there is no secret ${name} here` };
}

/** Names of which the server must have one; what would make fewer servers good than we can tell is refused. */
function namesOf(validation: CertificateValidationContext, path: string): readonly string[] {
  const refuse = (field: string, why: string): never => {
    throw new ResourceError(`${path}.${field}`, why, { unenforceable: true });
  };
  if (validation.verify_certificate_hash.length > 0) refuse('verify_certificate_hash', 'certificates are not pinned');
  if (validation.verify_certificate_spki.length > 0) refuse('verify_certificate_spki', 'keys are not pinned');
  if (validation.require_signed_certificate_timestamp === true) {
    refuse('require_signed_certificate_timestamp', 'timestamps are not looked at');
  }
  if (validation.custom_validator_config !== undefined) refuse('custom_validator_config', 'there are no validators');
  const all = [
    ...validation.match_subject_alt_names.map((matcher, index) => ({
      matcher,
      field: `match_subject_alt_names[${index}]`,
    })),
    ...validation.match_typed_subject_alt_names.map(({ matcher }, index) => ({
      matcher,
      field: `match_typed_subject_alt_names[${index}].matcher`,
    })),
  ];
  return all.map(({ field, matcher }) => {
    const { exact, ignore_case: ignoreCase } = matcher ?? {};
    return exact === undefined || ignoreCase === true ? refuse(field, 'expected an exact name') : exact;
  });
}

function parametersOf(
  common: CommonTlsContext,
  inMesh: boolean,
  path: string,
  remarks: Remarks,
): TlsParameters | undefined {
  const { custom_handshaker: handshaker, tls_params: parameters } = common;
  if (handshaker !== undefined) {
    throw new ResourceError(`${path}.custom_handshaker`, 'there are none', { unenforceable: true });
  }
  if (parameters?.signature_algorithms.length) {
    remarks.ignored(`${path}.tls_params.signature_algorithms`, "those of Node's TLS are used");
  }
  return tlsParametersOf(
    parameters,
    inMesh,
    ({ field, message, value }) =>
      new ResourceError(`${path}.tls_params.${field}`, message, { value, unenforceable: true }),
  );
}
