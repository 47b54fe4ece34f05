import { MeshError } from '../errors.ts';

/** What {@link fileWatcherOptions} makes: a part of the options of `fileIdentitySource`. */
export interface FileWatcherFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Exactly one of the two. */
  readonly rootFile?: string;
  readonly spiffeBundleMapFile?: string;
  readonly pollMs: number;
}

/** gRPC's default of `refresh_interval`. */
const defaultRefreshMs = 600_000;

/**
 * Reads the `config` of a certificate provider `file_watcher` as it is in a gRPC bootstrap file
 * (gRFC A29; `spiffe_trust_bundle_map_file` is gRFC A87 and goes before `ca_certificate_file`).
 * Unknown keys are ignored, as gRPC does. The files are looked at when the system says that they
 * changed, too, not only every `refresh_interval`.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID`: unlike gRPC, which can do with roots alone, an
 * identity needs a certificate, its key and roots.
 *
 * @example
 * const files = { certificate_file: '/tls/tls.crt', private_key_file: '/tls/tls.key', ca_certificate_file: '/tls/ca.crt' };
 * fileIdentitySource(fileWatcherOptions({ ...files, refresh_interval: '60s' }));
 */
export function fileWatcherOptions(config: unknown): FileWatcherFiles {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw invalid('config', 'an object', config);
  }
  const fields = config as Readonly<Record<string, unknown>>;
  const certificateFile = path(fields, 'certificate_file');
  const keyFile = path(fields, 'private_key_file');
  const rootFile = path(fields, 'ca_certificate_file');
  const spiffeBundleMapFile = path(fields, 'spiffe_trust_bundle_map_file');
  if (certificateFile === undefined) throw invalid('certificate_file', 'a path', undefined);
  if (keyFile === undefined) throw invalid('private_key_file', 'a path', undefined);
  const pollMs = refreshMs(fields['refresh_interval']);
  if (spiffeBundleMapFile !== undefined) return { certificateFile, keyFile, spiffeBundleMapFile, pollMs };
  if (rootFile !== undefined) return { certificateFile, keyFile, rootFile, pollMs };
  throw invalid('ca_certificate_file', 'a path, or one in spiffe_trust_bundle_map_file', undefined);
}

function path(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = fields[name];
  // proto3: an empty string is no value.
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string') throw invalid(name, 'a path', value);
  return value;
}

/** google.protobuf.Duration as JSON: seconds with up to nine decimals and an `s`. */
function refreshMs(value: unknown): number {
  if (value === undefined) return defaultRefreshMs;
  const seconds = typeof value === 'string' && /^\d{1,9}(\.\d{1,9})?s$/.test(value) ? Number.parseFloat(value) : 0;
  if (seconds > 0) return Math.max(1, seconds * 1_000);
  throw invalid('refresh_interval', 'a duration such as "600s"', value);
}

function invalid(field: string, expected: string, value: unknown): MeshError {
  const given = value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value).slice(0, 200);
  const message = `fileWatcherOptions: ${field}: expected ${expected}, not ${given}`;
  return new MeshError('ERR_MESH_OPTION_INVALID', message);
}
