import { compileCel } from '../lib/cel.ts';
import type { AccessLogPolicy, AccessLogSink } from '../model/access-log.ts';
import { callAttributeType } from '../model/call-attributes.ts';
import { checkedNames } from './attribute-names.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { LogProvider, MeshAccessLogging } from './log-providers.ts';
import type { Resource } from './resource.ts';
import type { TelemetryScope } from './telemetries.ts';

type Mode = 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER';

interface LoggingSpec {
  readonly match?: { readonly mode?: Mode };
  readonly providers?: readonly { readonly name: string }[];
  readonly disabled?: boolean | null;
  readonly filter?: { readonly expression?: string };
}

export interface AccessLoggingBody {
  readonly spec?: TelemetryScope & { readonly accessLogging?: readonly LoggingSpec[] };
}

type Telemetry = Resource<AccessLoggingBody>;

/**
 * Who logs what of a workload, merged as Istio does: providers that a Telemetry names replace those named before; one
 * that names none goes on with those before it; where all of that names no provider that there is, the log of
 * `accessLogFile` counts.
 *
 * @param applied see `applicableTelemetries`
 */
export function compileAccessLogging(
  applied: readonly Telemetry[],
  mesh: MeshAccessLogging,
  collector: Collector,
): AccessLogPolicy | undefined {
  const logs = applied.filter(({ body }) => (body.spec?.accessLogging ?? []).length > 0);
  for (const log of logs) check(log, mesh, collector);
  const client = sinksOf(logs, mesh, 'CLIENT');
  const server = sinksOf(logs, mesh, 'SERVER');
  return client.length + server.length === 0 ? undefined : { client, server };
}

interface Merged {
  readonly disabled: boolean;
  readonly filter: string | undefined;
}

/** Istio's `mergeLogs` for one side. */
function sinksOf(logs: readonly Telemetry[], mesh: MeshAccessLogging, mode: 'CLIENT' | 'SERVER'): AccessLogSink[] {
  const merged = new Map<string, Merged>();
  if (logs.length === 0) for (const name of mesh.defaults) merged.set(name, { disabled: false, filter: undefined });
  let named: readonly string[] = mesh.defaults;
  const filters = new Map<string, string | undefined>();
  for (const log of logs) {
    const ofThis = specsOf(log).filter((spec) => isFor(spec, mode));
    for (const spec of ofThis) for (const name of namesOf(spec)) filters.set(name, spec.filter?.expression);
    const names = ofThis.flatMap(namesOf);
    if (names.length > 0) named = names;
  }
  const inScope = new Set(named);
  let inherited: readonly string[] = mesh.defaults;
  for (const spec of logs.flatMap(specsOf)) {
    const own = namesOf(spec);
    inherited = own.length === 0 ? inherited : own;
    if (!isFor(spec, mode)) continue;
    for (const name of inherited) {
      if (!inScope.has(name)) continue;
      merged.set(
        name,
        spec.disabled === true ? { disabled: true, filter: undefined } : { disabled: false, filter: filters.get(name) },
      );
    }
  }
  const known = [...merged].flatMap(([name, log]) => {
    const provider = providerOf(name, mesh);
    return provider === undefined || provider.kind === 'none' ? [] : [{ provider, log }];
  });
  if (known.length === 0) return mesh.legacy === undefined ? [] : [mesh.legacy];
  known.sort((a, b) => (a.provider.name < b.provider.name ? -1 : 1));
  return known.flatMap(({ log: { disabled, filter }, provider: { sink } }) =>
    disabled || sink === undefined ? [] : [{ ...sink, ...(filter === undefined ? {} : { filter }) }],
  );
}

const specsOf = ({ body }: Telemetry): readonly LoggingSpec[] => body.spec?.accessLogging ?? [];
const namesOf = ({ providers = [] }: LoggingSpec): readonly string[] => providers.map(({ name }) => name);

function isFor({ match }: LoggingSpec, mode: 'CLIENT' | 'SERVER'): boolean {
  const wanted = match?.mode ?? 'CLIENT_AND_SERVER';
  return wanted === 'CLIENT_AND_SERVER' || wanted === mode;
}

/** Istio finds them whatever their case. */
function providerOf(name: string, { providers }: MeshAccessLogging): LogProvider | undefined {
  return providers.find((each) => each.name.toLowerCase() === name.toLowerCase());
}

function check(resource: Telemetry, mesh: MeshAccessLogging, collector: Collector): void {
  for (const [index, spec] of specsOf(resource).entries()) {
    const path = ['spec', 'accessLogging', index];
    for (const [at, name] of namesOf(spec).entries()) {
      const provider = providerOf(name, mesh);
      if (provider?.kind === 'file') continue;
      const note =
        provider?.kind === 'service'
          ? `${name} is not written to from here: files and standard output are`
          : `MeshConfig has no extension provider ${name} for access logs`;
      collector.warn(resource, [...path, 'providers', at], 'ignored', note);
    }
    if (namesOf(spec).length === 0 && mesh.defaults.length === 0 && index === 0) {
      const note = 'names no provider: what was named before counts, and the MeshConfig has no default provider';
      collector.warn(resource, path, 'enforced', note);
    }
    const { expression } = spec.filter ?? {};
    if (expression !== undefined) checkFilter(expression, resource, [...path, 'filter', 'expression'], collector);
  }
}

function checkFilter(expression: string, resource: Resource, path: Path, collector: Collector): void {
  try {
    const { type } = compileCel(expression, checkedNames(callAttributeType));
    if (type !== 'bool') collector.refuse(resource, path, `must be true or false, and is of type ${type}`, expression);
  } catch (error) {
    collector.refuse(resource, path, (error as Error).message, expression);
  }
}
