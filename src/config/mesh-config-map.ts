import type { ConfigDocument, Path, Position } from './document.ts';
import { documentOf } from './document.ts';
import { meshConfigMapTable } from './fields-mesh-config.ts';
import type { FieldType } from './schema.ts';
import type { ConfigProblem } from './source.ts';
import { parseYaml } from './yaml.ts';

/** A resource, read from a document. */
export interface OpenedResource {
  readonly document: ConfigDocument;
  readonly value: Readonly<Record<string, unknown>>;
  /** Why the text cannot be read. */
  readonly problems: readonly ConfigProblem[];
}

/**
 * Is it the ConfigMap in which Istio keeps its MeshConfig: `istio`, or `istio-<revision>`, with a
 * key `mesh`? Other ConfigMaps mean nothing to a mesh.
 */
export function holdsMeshConfig(apiVersion: unknown, kind: unknown, name: string, value: object): boolean {
  if (apiVersion !== 'v1' || kind !== 'ConfigMap' || !/^istio(-|$)/.test(name)) return false;
  const { data } = value as { readonly data?: unknown };
  return typeof data === 'object' && data !== null && typeof (data as Record<string, unknown>)['mesh'] === 'string';
}

/**
 * Replaces the text of `data.mesh` by what it says. Field names may be those of the protobuf
 * (`outbound_traffic_policy`), as Istio reads both. Positions point into the outer file.
 */
export function openMeshConfigMap(
  value: Readonly<Record<string, unknown>>,
  document: ConfigDocument,
  base: Path,
): OpenedResource {
  const data = value['data'] as Readonly<Record<string, unknown>>;
  const text = data['mesh'] as string;
  const { documents, problems } = parseYaml(text);
  const inner = documents[0] ?? documentOf({});
  const place = [...base, 'data', 'mesh'];
  const locate = (path: Path, key?: boolean): Position | undefined => {
    const outside = path.length <= place.length || !place.every((part, index) => part === path[index]);
    if (outside) return document.locate(path, key);
    const around = document.locate(place, true);
    const within = inner.locate(path.slice(place.length), key);
    // Only of a block (`mesh: |`) it is known where its lines are: below the key, one step to the right.
    if (around === undefined || within === undefined || !text.includes('\n')) return around;
    return { line: around.line + within.line, column: around.column + 2 + within.column - 1 };
  };
  return {
    document: { ...document, locate },
    value: { ...value, data: { mesh: camelCase(inner.value, meshConfigMapTable.fields['data']?.type, 'mesh') } },
    problems: documents.length > 1 ? [{ message: 'must be one YAML document' }] : problems,
  };
}

/** Names as JSON has them, wherever names are those of fields and not of somebody's labels. */
function camelCase(value: unknown, parent: FieldType | undefined, name: string): unknown {
  return convert(value, parent?.kind === 'object' ? parent.fields[name]?.type : undefined);
}

function convert(value: unknown, type: FieldType | undefined): unknown {
  if (Array.isArray(value)) {
    return type?.kind === 'list' ? value.map((item) => convert(item, type.item)) : value;
  }
  if (typeof value !== 'object' || value === null || type?.kind !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      return [name, convert(item, type.fields[name]?.type)];
    }),
  );
}
