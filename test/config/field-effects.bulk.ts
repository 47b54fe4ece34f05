// A field that is called enforced does something: where it is left out, another snapshot comes out, or none.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { documentOf } from '../../src/config/document.ts';
import { kindTables } from '../../src/config/kinds.ts';
import { describeProblem } from '../../src/config/problem.ts';
import type { Field, FieldStatus, FieldType } from '../../src/config/schema.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { web } from './support.ts';

type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain };
type Tree = Record<string, unknown>;

/** What a compilation makes of documents, without what says where things stand. */
function outcome(documents: readonly unknown[]): string {
  const result = compile(
    documents.map((each) => documentOf(structuredClone(each))),
    { workload: { ...web, locality: 'a/b/c' }, trustDomainIsDefault: true },
  );
  if (!result.ok) return `refused: ${result.problems.map(describeProblem).join('; ')}`;
  const { version: _, ...snapshot } = result.snapshot;
  return JSON.stringify(plainOf(snapshot));
}

function plainOf(value: unknown): Plain {
  if (value instanceof Map) return [...value].map((entry) => plainOf(entry));
  if (value instanceof Set) return [...value].map((entry) => plainOf(entry));
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) return (value ?? null) as Plain;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'provenance' && key !== 'skipped')
      .map(([key, each]) => [key, plainOf(each)]),
  );
}

/** Every value without parts: where it stands, and the path of its field in the table. */
function* leavesOf(
  value: unknown,
  type: FieldType,
  at: readonly (string | number)[],
  path: string,
): Generator<{ readonly at: readonly (string | number)[]; readonly path: string }> {
  if (type.kind === 'list' && Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* leavesOf(item, type.item, [...at, index], `${path}[]`);
  } else if (type.kind === 'map' && typeof value === 'object' && value !== null) {
    for (const [key, each] of Object.entries(value)) yield* leavesOf(each, type.value, [...at, key], `${path}{}`);
  } else if (type.kind === 'object' && typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) yield { at, path };
    for (const [key, each] of entries) {
      const field = type.fields[key];
      if (field !== undefined) yield* leavesOf(each, field.type, [...at, key], `${path}.${key}`);
    }
  } else yield { at, path: general(path) };
}

/** The policies of subsets and ports have the parts of that of their rule. */
function general(path: string): string {
  const ofRule = path.replace('spec.subsets[].trafficPolicy.', 'spec.trafficPolicy.');
  return /portLevelSettings\[\]\.port/.test(ofRule) ? ofRule : ofRule.replace('.portLevelSettings[].', '.');
}

/** Every field without fields of its own that the table calls enforced or approximated. */
function* promisesOf(fields: Readonly<Record<string, Field>>, prefix: string, status: FieldStatus): Generator<string> {
  for (const [name, field] of Object.entries(fields)) {
    const own = field.status ?? status;
    let { type } = field;
    let path = `${prefix}.${name}`;
    for (; type.kind === 'list' || type.kind === 'map'; type = type.kind === 'list' ? type.item : type.value) {
      path += type.kind === 'list' ? '[]' : '{}';
    }
    if (type.kind === 'object' && Object.keys(type.fields).length > 0) yield* promisesOf(type.fields, path, own);
    else if (own === 'enforced' || own === 'approximated') yield general(path.slice(1));
  }
}

function without(document: unknown, at: readonly (string | number)[]): unknown {
  const copy = structuredClone(document) as Tree;
  const last = at.at(-1) as string | number;
  const parent = at.slice(0, -1).reduce<unknown>((value, key) => (value as Tree)[key], copy);
  if (Array.isArray(parent)) parent.splice(last as number, 1);
  else delete (parent as Tree)[last];
  return copy;
}

const read = (text: string): readonly Tree[] => {
  const { documents, problems } = parseYaml(text, 'fields.yaml');
  if (problems.length > 0) throw new Error(problems.map(describeProblem).join('\n'));
  return documents.map(({ value }) => value as Tree);
};

/** Fields that are enforced by another part than the compiler, or only where a refusal would stand: why. */
const elsewhere: Readonly<Record<string, readonly string[]>> = JSON.parse(
  readFileSync(new URL('./field-effects.json', import.meta.url), 'utf8'),
);
const documents = read(readFileSync(new URL('./field-effects.yaml', import.meta.url), 'utf8'));
const kinds = ['VirtualService', 'DestinationRule', 'ServiceEntry', 'WorkloadEntry', 'Sidecar', 'MeshConfig'];

for (const kind of kinds) {
  t.test(`${kind}: every field that is called enforced changes what is compiled`, async (t) => {
    const table = kindTables.find((each) => each.kind === kind);
    if (table === undefined) return t.fail(kind);
    const before = new Map<string, string>();
    const effective = new Set<string>();
    const seen = new Set<string>();
    for (const [index, document] of documents.entries()) {
      if (document['kind'] !== kind) continue;
      // Annotated documents stand in a world of their own: `test/world`.
      const world = worldOf(document);
      const others = documents.filter((each, other) => other !== index && worldOf(each) === world);
      const base = before.get(world) ?? outcome([...others, document]);
      before.set(world, base);
      t.notOk(base.startsWith('refused'), `world ${world}: ${base.slice(0, 500)}`);
      for (const { at, path } of leavesOf(
        document['spec'],
        table.fields['spec']?.type as FieldType,
        ['spec'],
        'spec',
      )) {
        seen.add(path);
        if (!effective.has(path) && outcome([...others, without(document, at)]) !== base) effective.add(path);
      }
    }
    const promised = [...new Set(promisesOf(table.fields, '', table.status))];
    const excepted = (path: string): boolean =>
      (elsewhere[kind] ?? []).some((each) => (each.endsWith('*') ? path.startsWith(each.slice(0, -1)) : path === each));
    const missing = promised.filter((path) => !effective.has(path) && !excepted(path));
    t.same(
      missing.map((path) => `${path}${seen.has(path) ? ' has no effect' : ' is in no example'}`),
      [],
    );
    const stale = (elsewhere[kind] ?? []).filter(
      (path) => !path.endsWith('*') && (effective.has(path) || !promised.includes(path)),
    );
    t.same(stale, [], 'the exceptions are still exceptions');
    return undefined;
  });
}

function worldOf({ metadata }: Tree): string {
  const { annotations = {} } = (metadata ?? {}) as { readonly annotations?: Readonly<Record<string, string>> };
  return annotations['test/world'] ?? '';
}
