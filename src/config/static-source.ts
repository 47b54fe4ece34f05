import { type CompileOptions, compile } from './compile.ts';
import { documentOf } from './document.ts';
import type { ConfigSource } from './source.ts';
import { parseYaml } from './yaml.ts';

/**
 * Configuration that never changes: YAML text, or resources as objects. For tests and for
 * programs that bring their configuration along.
 *
 * @example
 * const mesh = createMesh({ config: staticSource(yaml, { workload }) });
 */
export function staticSource(
  resources: string | readonly object[],
  options: Omit<CompileOptions, 'previous'>,
): ConfigSource {
  return {
    name: 'static',
    async run(sink, signal) {
      const { documents, problems } =
        typeof resources === 'string'
          ? parseYaml(resources)
          : { documents: resources.map((resource) => documentOf(resource)), problems: [] };
      const result = problems.length > 0 ? { ok: false as const, problems } : compile(documents, options);
      if (signal.aborted) return;
      if (result.ok) sink.update(result.snapshot, result.report);
      else sink.reject(result.problems);
    },
  };
}
