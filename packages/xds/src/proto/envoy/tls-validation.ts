import { bool, enumOf, message, string, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type DataSource, dataSourceSchema, type TypedExtensionConfig, typedExtensionConfigSchema } from './base.ts';
import { type ConfigSource, configSourceSchema } from './config-source.ts';
import { type StringMatcher, stringMatcherSchema } from './matchers.ts';

/** `TlsParametersTlsProtocol`, by its names. */
export type TlsParametersTlsProtocol = 'TLS_AUTO' | 'TLSv1_0' | 'TLSv1_1' | 'TLSv1_2' | 'TLSv1_3';
const tlsParametersTlsProtocolEnum = enumOf<TlsParametersTlsProtocol>(
  'TLS_AUTO',
  'TLSv1_0',
  'TLSv1_1',
  'TLSv1_2',
  'TLSv1_3',
);

/** `SubjectAltNameMatcherSanType`, by its names. */
export type SubjectAltNameMatcherSanType =
  | 'SAN_TYPE_UNSPECIFIED'
  | 'EMAIL'
  | 'DNS'
  | 'URI'
  | 'IP_ADDRESS'
  | 'OTHER_NAME';
const subjectAltNameMatcherSanTypeEnum = enumOf<SubjectAltNameMatcherSanType>(
  'SAN_TYPE_UNSPECIFIED',
  'EMAIL',
  'DNS',
  'URI',
  'IP_ADDRESS',
  'OTHER_NAME',
);

/** `CertificateValidationContextTrustChainVerification`, by its names. */
export type CertificateValidationContextTrustChainVerification = 'VERIFY_TRUST_CHAIN' | 'ACCEPT_UNTRUSTED';
const certificateValidationContextTrustChainVerificationEnum =
  enumOf<CertificateValidationContextTrustChainVerification>('VERIFY_TRUST_CHAIN', 'ACCEPT_UNTRUSTED');

/** `envoy.extensions.transport_sockets.tls.v3.CertificateProviderPluginInstance`. */
export interface CertificateProviderPluginInstance {
  readonly instance_name: string;
  readonly certificate_name: string;
}

export const certificateProviderPluginInstanceSchema: Schema<CertificateProviderPluginInstance> =
  schema<CertificateProviderPluginInstance>(
    'envoy.extensions.transport_sockets.tls.v3.CertificateProviderPluginInstance',
    {
      fields: {
        instance_name: single(1, string),
        certificate_name: single(2, string),
      },
    },
  );

/** `envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`. */
export interface SdsSecretConfig {
  readonly name: string;
  readonly sds_config: ConfigSource | undefined;
}

export const sdsSecretConfigSchema: Schema<SdsSecretConfig> = schema<SdsSecretConfig>(
  'envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig',
  {
    fields: {
      name: single(1, string),
      sds_config: single(
        2,
        message(() => configSourceSchema),
      ),
    },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.TlsParameters`. */
export interface TlsParameters {
  readonly tls_minimum_protocol_version: TlsParametersTlsProtocol | number;
  readonly tls_maximum_protocol_version: TlsParametersTlsProtocol | number;
  readonly cipher_suites: readonly string[];
  readonly ecdh_curves: readonly string[];
  readonly signature_algorithms: readonly string[];
}

export const tlsParametersSchema: Schema<TlsParameters> = schema<TlsParameters>(
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters',
  {
    fields: {
      tls_minimum_protocol_version: single(1, tlsParametersTlsProtocolEnum),
      tls_maximum_protocol_version: single(2, tlsParametersTlsProtocolEnum),
      cipher_suites: repeated(3, string),
      ecdh_curves: repeated(4, string),
      signature_algorithms: repeated(5, string),
    },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`. */
export interface TlsCertificate {
  readonly certificate_chain: DataSource | undefined;
  readonly private_key: DataSource | undefined;
}

export const tlsCertificateSchema: Schema<TlsCertificate> = schema<TlsCertificate>(
  'envoy.extensions.transport_sockets.tls.v3.TlsCertificate',
  {
    fields: {
      certificate_chain: single(
        1,
        message(() => dataSourceSchema),
      ),
      private_key: single(
        2,
        message(() => dataSourceSchema),
      ),
    },
    ignored: {
      3: 'password',
      4: 'ocsp_staple',
      5: 'signed_certificate_timestamp',
      6: 'private_key_provider',
      7: 'watched_directory',
      8: 'pkcs12',
    },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`. */
export interface SubjectAltNameMatcher {
  readonly san_type: SubjectAltNameMatcherSanType | number;
  readonly matcher: StringMatcher | undefined;
  readonly oid: string;
}

export const subjectAltNameMatcherSchema: Schema<SubjectAltNameMatcher> = schema<SubjectAltNameMatcher>(
  'envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher',
  {
    fields: {
      san_type: single(1, subjectAltNameMatcherSanTypeEnum),
      matcher: single(
        2,
        message(() => stringMatcherSchema),
      ),
      oid: single(3, string),
    },
  },
);

/** `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`. */
export interface CertificateValidationContext {
  readonly trusted_ca: DataSource | undefined;
  readonly verify_certificate_hash: readonly string[];
  readonly verify_certificate_spki: readonly string[];
  readonly require_signed_certificate_timestamp: boolean | undefined;
  readonly crl: DataSource | undefined;
  readonly allow_expired_certificate: boolean;
  readonly match_subject_alt_names: readonly StringMatcher[];
  readonly trust_chain_verification: CertificateValidationContextTrustChainVerification | number;
  readonly custom_validator_config: TypedExtensionConfig | undefined;
  readonly ca_certificate_provider_instance: CertificateProviderPluginInstance | undefined;
  readonly match_typed_subject_alt_names: readonly SubjectAltNameMatcher[];
  readonly system_root_certs: SystemRootCerts | undefined;
}

export const certificateValidationContextSchema: Schema<CertificateValidationContext> =
  schema<CertificateValidationContext>('envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext', {
    fields: {
      trusted_ca: single(
        1,
        message(() => dataSourceSchema),
      ),
      verify_certificate_hash: repeated(2, string),
      verify_certificate_spki: repeated(3, string),
      require_signed_certificate_timestamp: single(6, wrapped(bool)),
      crl: single(
        7,
        message(() => dataSourceSchema),
      ),
      allow_expired_certificate: single(8, bool),
      match_subject_alt_names: repeated(
        9,
        message(() => stringMatcherSchema),
      ),
      trust_chain_verification: single(10, certificateValidationContextTrustChainVerificationEnum),
      custom_validator_config: single(
        12,
        message(() => typedExtensionConfigSchema),
      ),
      ca_certificate_provider_instance: single(
        13,
        message(() => certificateProviderPluginInstanceSchema),
      ),
      match_typed_subject_alt_names: repeated(
        15,
        message(() => subjectAltNameMatcherSchema),
      ),
      system_root_certs: single(
        17,
        message(() => systemRootCertsSchema),
      ),
    },
    ignored: { 11: 'watched_directory', 14: 'only_verify_leaf_cert_crl', 16: 'max_verify_depth' },
  });

/** `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts`. */
export type SystemRootCerts = Readonly<Record<string, never>>;

export const systemRootCertsSchema: Schema<SystemRootCerts> = schema<SystemRootCerts>(
  'envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts',
  {
    fields: {},
  },
);
