import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { type Any, maxResources, readAny, secretType, writeAny } from './discovery.ts';
import { eachField, message, pushBounded, writeBytes, writeMessage, writeString } from './wire.ts';

/** `envoy.extensions.transport_sockets.tls.v3.Secret`: what a server of secrets hands out, and what of it is read. */

const spiffeValidator = 'envoy.tls.cert_validator.spiffe';
const spiffeValidatorType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';

/** Most trust domains in one secret: as many as a Workload API may have, and a SPIFFE bundle map. */
const maxTrustDomains = 1_024;

/** `envoy.config.core.v3.DataSource`. */
export type DataSource =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'environment'; readonly name: string };

/** What one secret holds. */
export interface ReadSecret {
  readonly name: string;
  /** `tls_certificate` with both of its halves. */
  readonly certificate?: { readonly chain: DataSource; readonly key: DataSource };
  /** `validation_context`. */
  readonly roots?: ReadRoots;
  /** Fields that are set, are not enforced here, and that nobody may leave out. */
  readonly refused: readonly string[];
  /** Fields that are set and have no effect here. */
  readonly passedOver: readonly string[];
}

/** Roots of one trust domain that is not named, or of several that are. */
export interface ReadRoots {
  /** `trusted_ca`. */
  readonly trustedCa?: DataSource;
  /** Of the SPIFFE validator: trust domain to roots. */
  readonly domains?: ReadonlyMap<string, DataSource>;
  /** Of the SPIFFE validator: a map of SPIFFE bundles, JSON. Goes before `domains`. */
  readonly bundleMap?: DataSource;
  /** `crl`, PEM. */
  readonly crl?: DataSource;
}

/** A certificate with its key, both in the one secret, so that neither can be had without the other. */
export function certificateSecret(name: string, chainPem: string, keyPem: string): Any {
  return secret(name, 2, (writer) => {
    writeMessage(writer, 1, (chain) => writeBytes(chain, 2, Buffer.from(chainPem)));
    writeMessage(writer, 2, (key) => writeBytes(key, 2, Buffer.from(keyPem)));
  });
}

/** Roots as `trusted_ca`: for one trust domain, which a client has to know from elsewhere. */
export function rootsSecret(name: string, roots: readonly string[], crls: readonly string[] = []): Any {
  return secret(name, 4, (writer) => {
    writeMessage(writer, 1, (ca) => writeBytes(ca, 2, Buffer.from(roots.join(''))));
    if (crls.length > 0) writeMessage(writer, 7, (crl) => writeBytes(crl, 2, Buffer.from(crls.join(''))));
  });
}

/**
 * Roots by trust domain, for Envoy's SPIFFE validator: a root speaks for its own trust domain only.
 * Revocation lists stand among the roots of their domain, where the validator looks for them.
 */
export function federatedSecret(
  name: string,
  bundles: ReadonlyMap<string, readonly string[]>,
  crls: ReadonlyMap<string, readonly string[]> = new Map(),
): Any {
  const config = message((writer) => {
    for (const [trustDomain, roots] of bundles) {
      const pem = [...roots, ...(crls.get(trustDomain) ?? [])].join('');
      writeMessage(writer, 1, (domain) => {
        writeString(domain, 1, trustDomain);
        writeMessage(domain, 2, (source) => writeBytes(source, 2, Buffer.from(pem)));
      });
    }
  });
  return secret(name, 4, (writer) =>
    writeMessage(writer, 12, (extension) => {
      writeString(extension, 1, spiffeValidator);
      writeMessage(extension, 2, (any) => writeAny(any, { typeUrl: spiffeValidatorType, value: config }));
    }),
  );
}

function secret(name: string, field: number, write: Parameters<typeof writeMessage>[2]): Any {
  const value = message((writer) => {
    writeString(writer, 1, name);
    writeMessage(writer, field, write);
  });
  return { typeUrl: secretType, value };
}

/** @throws Error when it is no secret, or one of a kind that has no certificates */
export function readSecret({ typeUrl, value }: Any): ReadSecret {
  if (typeUrl !== secretType) throw new Error(`expected ${secretType}, not ${JSON.stringify(typeUrl.slice(0, 200))}`);
  let name = '';
  let certificate: ReadSecret['certificate'];
  let roots: ReadRoots | undefined;
  const fields: Fields = { refused: [], passedOver: [] };
  eachField(
    value,
    {
      1: (reader) => void (name = reader.string()),
      2: (reader) => void (certificate = readCertificate(reader.bytes(), fields)),
      4: (reader) => void (roots = readRoots(reader.bytes(), fields)),
    },
    noting(fields, '', { 3: ['session_ticket_keys', 'refuse'], 5: ['generic_secret', 'refuse'] }),
  );
  return {
    name,
    ...(certificate === undefined ? {} : { certificate }),
    ...(roots === undefined ? {} : { roots }),
    refused: fields.refused,
    passedOver: fields.passedOver,
  };
}

/** What becomes of a field that is not read: by number, its name, and whether the secret is refused for it. */
type FieldTable = Readonly<Record<number, readonly [name: string, verdict: 'refuse' | 'pass']>>;

/** Fields of a secret that are set and not read. */
interface Fields {
  readonly refused: string[];
  readonly passedOver: string[];
}

function note({ passedOver, refused }: Fields, field: string, verdict: 'refuse' | 'pass'): void {
  const list = verdict === 'refuse' ? refused : passedOver;
  if (!list.includes(field)) pushBounded(list, field, maxResources, 'fields');
}

/** For {@link eachField}: notes what else is set, by name. A field that nobody here knows might restrict something. */
function noting(fields: Fields, prefix: string, table: FieldTable): (field: number) => void {
  return (number) => {
    const [name, verdict] = table[number] ?? [`${number}`, 'refuse'];
    note(fields, prefix === '' ? name : `${prefix}.${name}`, verdict);
  };
}

/** Without these a certificate is not what was meant, or cannot be used. */
const certificateFields: FieldTable = {
  3: ['password', 'refuse'],
  4: ['ocsp_staple', 'pass'],
  5: ['signed_certificate_timestamp', 'pass'],
  6: ['private_key_provider', 'refuse'],
  7: ['watched_directory', 'pass'],
  8: ['pkcs12', 'refuse'],
  9: ['tls_params', 'pass'],
};

/** What restricts who is trusted is refused; what would only allow more has no effect. */
const contextFields: FieldTable = {
  2: ['verify_certificate_hash', 'refuse'],
  3: ['verify_certificate_spki', 'refuse'],
  6: ['require_signed_certificate_timestamp', 'refuse'],
  8: ['allow_expired_certificate', 'pass'],
  9: ['match_subject_alt_names', 'refuse'],
  10: ['trust_chain_verification', 'pass'],
  11: ['watched_directory', 'pass'],
  13: ['ca_certificate_provider_instance', 'refuse'],
  14: ['only_verify_leaf_cert_crl', 'pass'],
  15: ['match_typed_subject_alt_names', 'refuse'],
  16: ['max_verify_depth', 'refuse'],
  17: ['system_root_certs', 'refuse'],
  18: ['suppress_client_ca_list', 'pass'],
};

function readCertificate(bytes: Uint8Array, fields: Fields): ReadSecret['certificate'] {
  let chain: DataSource | undefined;
  let key: DataSource | undefined;
  eachField(
    bytes,
    {
      1: (reader) => void (chain = readDataSource(reader)),
      2: (reader) => void (key = readDataSource(reader)),
    },
    noting(fields, 'tls_certificate', certificateFields),
  );
  return chain === undefined || key === undefined ? undefined : { chain, key };
}

function readRoots(bytes: Uint8Array, fields: Fields): ReadRoots {
  let trustedCa: DataSource | undefined;
  let crl: DataSource | undefined;
  let validator: Pick<ReadRoots, 'domains' | 'bundleMap'> = {};
  eachField(
    bytes,
    {
      1: (reader) => void (trustedCa = readDataSource(reader)),
      7: (reader) => void (crl = readDataSource(reader)),
      12: (reader) => void (validator = readValidator(reader.bytes(), fields)),
    },
    noting(fields, 'validation_context', contextFields),
  );
  return { ...validator, ...(trustedCa === undefined ? {} : { trustedCa }), ...(crl === undefined ? {} : { crl }) };
}

/** `TypedExtensionConfig` of `custom_validator_config`. */
function readValidator(bytes: Uint8Array, fields: Fields): Pick<ReadRoots, 'domains' | 'bundleMap'> {
  let config: Any | undefined;
  let bundleMap: DataSource | undefined;
  eachField(bytes, { 2: (reader) => void (config = readAny(reader.bytes())) });
  if (config?.typeUrl !== spiffeValidatorType) {
    note(fields, 'validation_context.custom_validator_config', 'refuse');
    return {};
  }
  const domains = new Map<string, DataSource>();
  const prefix = 'validation_context.custom_validator_config';
  eachField(
    config.value,
    {
      1: (reader) => {
        let name = '';
        let roots: DataSource | undefined;
        eachField(
          reader.bytes(),
          { 1: (inner) => void (name = inner.string()), 2: (inner) => void (roots = readDataSource(inner)) },
          noting(fields, `${prefix}.trust_domains`, { 3: ['workload_trust_domain', 'refuse'] }),
        );
        if (domains.size >= maxTrustDomains) throw new Error(`more than ${maxTrustDomains} trust domains`);
        if (domains.has(name)) throw new Error(`trust domain ${JSON.stringify(name.slice(0, 255))} appears twice`);
        if (roots !== undefined) domains.set(name, roots);
      },
      2: (reader) => void (bundleMap = readDataSource(reader)),
    },
    noting(fields, prefix, {}),
  );
  return bundleMap === undefined ? { domains } : { bundleMap };
}

function readDataSource(reader: BinaryReader): DataSource | undefined {
  let found: DataSource | undefined;
  eachField(reader.bytes(), {
    1: (inner) => void (found = { kind: 'file', path: inner.string() }),
    2: (inner) => void (found = { kind: 'inline', bytes: inner.bytes() }),
    3: (inner) => void (found = { kind: 'inline', bytes: Buffer.from(inner.string()) }),
    4: (inner) => void (found = { kind: 'environment', name: inner.string() }),
  });
  return found;
}
