import { bool, enumOf, message, string, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type TypedExtensionConfig, typedExtensionConfigSchema } from './base.ts';
import {
  type CertificateProviderPluginInstance,
  type CertificateValidationContext,
  certificateProviderPluginInstanceSchema,
  certificateValidationContextSchema,
  type SdsSecretConfig,
  sdsSecretConfigSchema,
  type TlsCertificate,
  type TlsParameters,
  tlsCertificateSchema,
  tlsParametersSchema,
} from './tls-validation.ts';

/** `DownstreamTlsContextOcspStaplePolicy`, by its names. */
export type DownstreamTlsContextOcspStaplePolicy = 'LENIENT_STAPLING' | 'STRICT_STAPLING' | 'MUST_STAPLE';
const downstreamTlsContextOcspStaplePolicyEnum = enumOf<DownstreamTlsContextOcspStaplePolicy>(
  'LENIENT_STAPLING',
  'STRICT_STAPLING',
  'MUST_STAPLE',
);

/** `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`. */
export interface DownstreamTlsContext {
  readonly common_tls_context: CommonTlsContext | undefined;
  readonly require_client_certificate: boolean | undefined;
  readonly require_sni: boolean | undefined;
  readonly ocsp_staple_policy: DownstreamTlsContextOcspStaplePolicy | number;
}

export const downstreamTlsContextSchema: Schema<DownstreamTlsContext> = schema<DownstreamTlsContext>(
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
  {
    fields: {
      common_tls_context: single(
        1,
        message(() => commonTlsContextSchema),
      ),
      require_client_certificate: single(2, wrapped(bool)),
      require_sni: single(3, wrapped(bool)),
      ocsp_staple_policy: single(8, downstreamTlsContextOcspStaplePolicyEnum),
    },
    ignored: {
      4: 'session_ticket_keys',
      5: 'session_ticket_keys_sds_secret_config',
      6: 'session_timeout',
      7: 'disable_stateless_session_resumption',
      9: 'full_scan_certs_on_sni_mismatch',
      10: 'disable_stateful_session_resumption',
    },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`. */
export interface UpstreamTlsContext {
  readonly common_tls_context: CommonTlsContext | undefined;
  readonly sni: string;
  readonly allow_renegotiation: boolean;
}

export const upstreamTlsContextSchema: Schema<UpstreamTlsContext> = schema<UpstreamTlsContext>(
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
  {
    fields: {
      common_tls_context: single(
        1,
        message(() => commonTlsContextSchema),
      ),
      sni: single(2, string),
      allow_renegotiation: single(3, bool),
    },
    ignored: { 4: 'max_session_keys', 5: 'enforce_rsa_key_usage' },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`. */
export interface CommonTlsContext {
  readonly tls_params: TlsParameters | undefined;
  readonly tls_certificates: readonly TlsCertificate[];
  readonly validation_context: CertificateValidationContext | undefined;
  readonly alpn_protocols: readonly string[];
  readonly tls_certificate_sds_secret_configs: readonly SdsSecretConfig[];
  readonly validation_context_sds_secret_config: SdsSecretConfig | undefined;
  readonly combined_validation_context: CombinedValidationContext | undefined;
  readonly tls_certificate_certificate_provider_instance: CertificateProviderInstance | undefined;
  readonly validation_context_certificate_provider_instance: CertificateProviderInstance | undefined;
  readonly custom_handshaker: TypedExtensionConfig | undefined;
  readonly tls_certificate_provider_instance: CertificateProviderPluginInstance | undefined;
}

export const commonTlsContextSchema: Schema<CommonTlsContext> = schema<CommonTlsContext>(
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext',
  {
    fields: {
      tls_params: single(
        1,
        message(() => tlsParametersSchema),
      ),
      tls_certificates: repeated(
        2,
        message(() => tlsCertificateSchema),
      ),
      validation_context: single(
        3,
        message(() => certificateValidationContextSchema),
      ),
      alpn_protocols: repeated(4, string),
      tls_certificate_sds_secret_configs: repeated(
        6,
        message(() => sdsSecretConfigSchema),
      ),
      validation_context_sds_secret_config: single(
        7,
        message(() => sdsSecretConfigSchema),
      ),
      combined_validation_context: single(
        8,
        message(() => combinedValidationContextSchema),
      ),
      tls_certificate_certificate_provider_instance: single(
        11,
        message(() => certificateProviderInstanceSchema),
      ),
      validation_context_certificate_provider_instance: single(
        12,
        message(() => certificateProviderInstanceSchema),
      ),
      custom_handshaker: single(
        13,
        message(() => typedExtensionConfigSchema),
      ),
      tls_certificate_provider_instance: single(
        14,
        message(() => certificateProviderPluginInstanceSchema),
      ),
    },
    ignored: {
      9: 'tls_certificate_certificate_provider',
      10: 'validation_context_certificate_provider',
      15: 'key_log',
    },
    oneofs: [
      [
        'validation_context',
        'validation_context_sds_secret_config',
        'combined_validation_context',
        'validation_context_certificate_provider_instance',
      ],
    ],
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext`. */
export interface CombinedValidationContext {
  readonly default_validation_context: CertificateValidationContext | undefined;
  readonly validation_context_sds_secret_config: SdsSecretConfig | undefined;
  readonly validation_context_certificate_provider_instance: CertificateProviderInstance | undefined;
}

export const combinedValidationContextSchema: Schema<CombinedValidationContext> = schema<CombinedValidationContext>(
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext',
  {
    fields: {
      default_validation_context: single(
        1,
        message(() => certificateValidationContextSchema),
      ),
      validation_context_sds_secret_config: single(
        2,
        message(() => sdsSecretConfigSchema),
      ),
      validation_context_certificate_provider_instance: single(
        4,
        message(() => certificateProviderInstanceSchema),
      ),
    },
    ignored: { 3: 'validation_context_certificate_provider' },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CertificateProviderInstance`. */
export interface CertificateProviderInstance {
  readonly instance_name: string;
  readonly certificate_name: string;
}

export const certificateProviderInstanceSchema: Schema<CertificateProviderInstance> =
  schema<CertificateProviderInstance>(
    'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CertificateProviderInstance',
    {
      fields: {
        instance_name: single(1, string),
        certificate_name: single(2, string),
      },
    },
  );
