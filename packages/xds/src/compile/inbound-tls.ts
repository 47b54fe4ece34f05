import type { StringMatch, TlsParameters } from 'inmesh/model';
import type { TransportSocket } from '../proto/envoy/base.ts';
import { type CommonTlsContext, downstreamTlsContextSchema } from '../proto/envoy/tls-context.ts';
import type { CertificateValidationContext } from '../proto/envoy/tls-validation.ts';
import { below, cannot, type Place, typeIn, unpackFilter, wrong } from './inbound-unpack.ts';
import { stringMatchOf } from './string-matchers.ts';
import { tlsParametersOf } from './tls-parameters.ts';

/** What a filter chain demands of the connection. */
export interface ChainTls {
  /** URI names that the certificate of a client may have, one of them; none: any identity that is verified. */
  readonly names: readonly StringMatch[];
  /** What may be spoken; absent: all that the mesh speaks. */
  readonly parameters?: TlsParameters;
}

const rawBuffer = 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer';

/**
 * The transport socket of a filter chain; nothing for plaintext. A client certificate must be asked for, and verified
 * (gRFC A29): TLS without one cannot be told from plaintext by any policy here.
 */
export function chainTls(socket: TransportSocket | undefined, place: Place): ChainTls | undefined {
  if (socket === undefined) return undefined;
  const at = below(place, 'typed_config');
  const packed = socket.typed_config;
  if (packed === undefined) {
    if (socket.name === 'envoy.transport_sockets.raw_buffer') return undefined;
    throw wrong(at, '', 'expected a DownstreamTlsContext');
  }
  if (typeIn(packed) === rawBuffer) return undefined;
  const context = unpackFilter(downstreamTlsContextSchema, packed, at, { harmless: harmlessTls });
  if (context.require_sni === true) throw cannot(at, 'require_sni', 'cannot be demanded here', true);
  if (context.ocsp_staple_policy !== 'LENIENT_STAPLING') {
    throw cannot(at, 'ocsp_staple_policy', 'expected LENIENT_STAPLING', context.ocsp_staple_policy);
  }
  const common = context.common_tls_context;
  const validation = validationOf(common, below(at, 'common_tls_context'));
  if (context.require_client_certificate !== true) {
    throw cannot(
      at,
      'require_client_certificate',
      'expected true: TLS without a client certificate is no mTLS, and nobody here serves it',
      context.require_client_certificate,
    );
  }
  if (validation === undefined) {
    throw wrong(
      at,
      'common_tls_context',
      'expected a validation context, since a client certificate is required (gRFC A29)',
    );
  }
  const parameters = parametersOf(common, below(at, 'common_tls_context'));
  return { names: validation, ...(parameters === undefined ? {} : { parameters }) };
}

/** How sessions are resumed, how certificates are chosen by SNI, how large keys are: Node.js and the identity source see to it. */
const harmlessTls = [
  'session_timeout',
  'session_ticket_keys',
  'session_ticket_keys_sds_secret_config',
  'disable_stateless_session_resumption',
  'disable_stateful_session_resumption',
  'full_scan_certs_on_sni_mismatch',
  'prefer_client_ciphers',
  'max_verify_depth',
  'watched_directory',
  'sds_config',
  'api_config_source',
  'key_log',
];

function parametersOf(common: CommonTlsContext | undefined, place: Place): TlsParameters | undefined {
  const { custom_handshaker, tls_params } = common ?? {};
  if (custom_handshaker !== undefined) {
    throw cannot(place, 'custom_handshaker', 'cannot be used here', custom_handshaker.name);
  }
  if (tls_params?.signature_algorithms.length) place.note('tls_params.signature_algorithms');
  return tlsParametersOf(tls_params, true, ({ field, message, value }) =>
    cannot(place, `tls_params.${field}`, message, value),
  );
}

/** Name of the secret that istiod gives the roots of the mesh, and of those that the agent reads from files. */
const knownRoots = /^(?:ROOTCA|default|file-root:.*)$/;

function validationOf(common: CommonTlsContext | undefined, place: Place): ChainTls['names'] | undefined {
  if (common === undefined) return undefined;
  const combined = common.combined_validation_context;
  const secret = common.validation_context_sds_secret_config ?? combined?.validation_context_sds_secret_config;
  if (secret !== undefined && !knownRoots.test(secret.name)) {
    throw cannot(
      place,
      'validation_context_sds_secret_config.name',
      'expected ROOTCA: the roots of the own identity',
      secret.name,
    );
  }
  const inline = common.validation_context;
  const provider =
    common.validation_context_certificate_provider_instance ??
    combined?.validation_context_certificate_provider_instance ??
    inline?.ca_certificate_provider_instance ??
    combined?.default_validation_context?.ca_certificate_provider_instance;
  if (inline !== undefined) {
    return checkedNames(inline, below(place, 'validation_context'), provider !== undefined);
  }
  if (combined !== undefined) {
    const at = below(place, 'combined_validation_context.default_validation_context');
    const roots = secret !== undefined || provider !== undefined;
    return checkedNames(combined.default_validation_context, at, roots);
  }
  return secret === undefined && provider === undefined ? undefined : [];
}

/** @param roots they come from the identity source, under a name */
function checkedNames(
  context: CertificateValidationContext | undefined,
  place: Place,
  roots: boolean,
): readonly StringMatch[] {
  if (context === undefined) return [];
  const { match_subject_alt_names: names, match_typed_subject_alt_names: typed } = context;
  if (context.trusted_ca !== undefined || context.system_root_certs !== undefined || !roots) {
    const field = context.trusted_ca === undefined ? 'system_root_certs' : 'trusted_ca';
    throw cannot(
      place,
      field,
      'expected the roots of the own identity: a secret ROOTCA, or a provider of certificates',
    );
  }
  for (const field of ['verify_certificate_spki', 'verify_certificate_hash'] as const) {
    if (context[field].length > 0) throw cannot(place, field, 'cannot be verified here');
  }
  for (const field of ['require_signed_certificate_timestamp', 'crl', 'custom_validator_config'] as const) {
    if (context[field] !== undefined && context[field] !== false) throw cannot(place, field, 'cannot be verified here');
  }
  // What Envoy would let pass, and is refused here all the same.
  if (context.allow_expired_certificate) place.note('allow_expired_certificate');
  if (context.trust_chain_verification !== 'VERIFY_TRUST_CHAIN') place.note('trust_chain_verification');
  for (const [i, { san_type }] of typed.entries()) {
    if (san_type !== 'URI') {
      throw cannot(
        place,
        `match_typed_subject_alt_names[${i}].san_type`,
        'expected URI: callers are known by SPIFFE IDs',
        san_type,
      );
    }
  }
  const all = [
    ...typed.map(({ matcher }, i) =>
      stringMatchOf(matcher, `${place.path}.match_typed_subject_alt_names[${i}].matcher`),
    ),
    ...names.map((matcher, i) => stringMatchOf(matcher, `${place.path}.match_subject_alt_names[${i}]`)),
  ];
  if (all.length === 0) place.note('match_typed_subject_alt_names');
  return all;
}
