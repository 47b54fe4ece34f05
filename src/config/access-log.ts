import type { AccessLogPolicy } from '../model/access-log.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

/** The fields of Istio's MeshConfig. */
export interface AccessLogSpec {
  readonly accessLogFile?: string;
  readonly accessLogFormat?: string;
  readonly accessLogEncoding?: 'TEXT' | 'JSON';
}

const streams: Readonly<Record<string, AccessLogPolicy['to']>> = { '/dev/stdout': 'stdout', '/dev/stderr': 'stderr' };

/** The access log that the mesh asks for; nothing where it asks for none, or for one in a file. */
export function compileAccessLog(
  resource: Resource<unknown>,
  { accessLogEncoding, accessLogFile = '', accessLogFormat = '' }: AccessLogSpec,
  path: Path,
  collector: Collector,
): AccessLogPolicy | undefined {
  if (accessLogFile === '') return undefined;
  if (!Object.hasOwn(streams, accessLogFile)) {
    const note =
      'a configuration does not choose files: /dev/stdout and /dev/stderr count, others are for the option accessLog';
    collector.warn(resource, [...path, 'accessLogFile'], 'ignored', note);
    return undefined;
  }
  const to = streams[accessLogFile] as AccessLogPolicy['to'];
  if (accessLogEncoding !== 'JSON')
    return { to, encoding: 'text', ...(accessLogFormat === '' ? {} : { format: accessLogFormat }) };
  if (accessLogFormat === '') return { to, encoding: 'json' };
  const format = textsOf(accessLogFormat);
  if (format === undefined) {
    const note = 'is no JSON object of texts: the default format is written';
    collector.warn(resource, [...path, 'accessLogFormat'], 'ignored', note);
  }
  return { to, encoding: 'json', ...(format === undefined ? {} : { format }) };
}

function textsOf(json: string): Readonly<Record<string, string>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const entries = Object.entries(value);
    return entries.every(([, each]) => typeof each === 'string') ? Object.fromEntries(entries) : undefined;
  } catch {
    return undefined;
  }
}
