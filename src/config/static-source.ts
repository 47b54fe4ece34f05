import { MeshError } from '../errors.ts';
import { type CompileOptions, compile } from './compile.ts';
import { documentOf } from './document.ts';
import type { ConfigSource } from './source.ts';
import { parseYaml } from './yaml.ts';

/** Options of {@link staticSource}. */
export type StaticSourceOptions = Partial<Omit<CompileOptions, 'previous'>>;

/**
 * Configuration that never changes: YAML text, or resources as objects. For tests and for
 * programs that bring their configuration along. It is for the workload of the mesh that it is
 * given to, unless `options` name another.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` from `run` where there is neither a mesh nor a `workload`.
 *
 * @example
 * const mesh = createMesh({ workload: { name: 'web' }, config: staticSource(yaml) });
 */
export function staticSource(resources: string | readonly object[], options: StaticSourceOptions = {}): ConfigSource {
  return {
    name: 'static',
    async run(sink, signal, mesh) {
      const workload = options.workload ?? mesh?.workload;
      if (workload === undefined) {
        throw new MeshError('ERR_MESH_OPTION_INVALID', 'staticSource needs { workload } where no mesh runs it');
      }
      const { documents, problems } =
        typeof resources === 'string'
          ? parseYaml(resources)
          : { documents: resources.map((resource) => documentOf(resource)), problems: [] };
      const result =
        problems.length > 0 ? { ok: false as const, problems } : compile(documents, { ...options, workload });
      if (signal.aborted) return;
      if (result.ok) sink.update(result.snapshot, result.report);
      else sink.reject(result.problems);
    },
  };
}
