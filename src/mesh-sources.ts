import { compile } from './config/compile.ts';
import { fileSource } from './config/file-source.ts';
import type { ConfigSource } from './config/source.ts';
import { MeshError } from './errors.ts';
import { caSource } from './identity/ca-source.ts';
import { fileIdentitySource } from './identity/file-source.ts';
import type { IdentitySource } from './identity/source.ts';
import type { Clock } from './lib/clock.ts';
import type { Random } from './lib/random.ts';
import type { MeshOptions } from './mesh-api.ts';
import type { OutboundPolicy } from './model/snapshot.ts';
import type { ResolvedSettings } from './settings.ts';

interface Source<S> {
  run(sink: S, signal: AbortSignal): Promise<void>;
}

/** Runs a source to its end. It must not throw; one that does is one that is out of reach. */
export async function run<S extends { lost(reason: Error): void }>(
  source: Source<S>,
  sink: S,
  signal: AbortSignal,
): Promise<void> {
  try {
    await source.run(sink, signal);
  } catch (error) {
    if (!signal.aborted) sink.lost(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Where configuration comes from: the source that was given, the files that were named, or nothing at all. */
export function configSourceOf(options: MeshOptions, settings: ResolvedSettings, clock: Clock): ConfigSource {
  const { workload, outboundPolicy, foreignRoutes, trustDomainIsDefault, configPath } = settings;
  const compiling = {
    workload,
    foreignRoutes,
    trustDomainIsDefault,
    ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
  };
  if (typeof options.config === 'object') return withOutboundPolicy(options.config, outboundPolicy);
  if (configPath !== undefined) return fileSource(configPath, { ...compiling, clock });
  return {
    // Nothing was configured, which is a configuration too: every host is outside of the mesh.
    name: 'none',
    async run(sink) {
      const result = compile([], compiling);
      if (result.ok) sink.update(result.snapshot, result.report);
      else sink.reject(result.problems);
    },
  };
}

/** Where certificates come from; nothing: this process has none. */
export function identitySourceOf(
  options: MeshOptions,
  settings: ResolvedSettings,
  clock: Clock,
  random: Random,
): IdentitySource | undefined {
  if (options.identity !== undefined) return options.identity === false ? undefined : options.identity;
  const { identity, workload } = settings;
  switch (identity.kind) {
    case 'ca': {
      const { kind: _, ...authority } = identity;
      return caSource({ ...authority, workload, clock, random });
    }
    case 'files': {
      const { kind: _, ...files } = identity;
      return fileIdentitySource({ ...files, clock });
    }
    case 'none':
      return undefined;
    default:
      throw new MeshError('ERR_MESH_OPTION_INVALID', `unknown kind of identity: ${String(identity satisfies never)}`);
  }
}

/** A source that does not know the settings: what they say of unknown hosts goes before what it says, as with files. */
function withOutboundPolicy(source: ConfigSource, outboundPolicy: OutboundPolicy | undefined): ConfigSource {
  if (outboundPolicy === undefined) return source;
  return {
    name: source.name,
    run: (sink, signal, mesh) =>
      source.run(
        {
          update(snapshot, report) {
            const same = snapshot.outboundPolicy === outboundPolicy;
            sink.update(same ? snapshot : { ...snapshot, outboundPolicy }, report);
          },
          reject: (problems) => sink.reject(problems),
          lost: (reason) => sink.lost(reason),
        },
        signal,
        mesh,
      ),
  };
}
