import { stringify } from 'yaml';
import { type CompileResult, compile } from '../../src/config/compile.ts';
import { kindTables } from '../../src/config/kinds.ts';
import { describeProblem } from '../../src/config/problem.ts';
import type { Field, FieldType } from '../../src/config/schema.ts';
import { parseFully, parseYaml } from '../../src/config/yaml.ts';
import { web } from './support.ts';

/** A number below `below`. */
export type Pick = (below: number) => number;

const texts = [
  ...['reviews', 'a.shop.svc.cluster.local', '*', '*.com', '/admin', '/a/{*}/b', '/{**}', 'GET', 'v1', '10.0.0.0/8'],
  ...['http', 'x-role', 'request.headers[x]', 'request.auth.claims[a][b]', 'cluster.local/ns/shop/sa/web', '80', '-1'],
  ...[
    '',
    ' ',
    '\r\n',
    '\u0000',
    '\u2028',
    '\uD800',
    '__proto__',
    'constructor',
    '$' + '{HOME}',
    '(a+)+$',
    '(a{0,99}){0,99}',
  ],
  ...[
    '1s',
    '1e400s',
    '0s',
    '-1s',
    '9'.repeat(40),
    'x'.repeat(2_000),
    '..',
    '//',
    '%2f',
    'NO',
    'null',
    '!!js',
    '*a',
    '&a',
  ],
];
const wrong: readonly unknown[] = [null, true, 0, -1, 1.5, 1e308, 2 ** 53, '', 'x', [], {}, [null], [[]], { a: {} }];

/** A value of a type, mostly as the table says. */
function valueFor(type: FieldType, pick: Pick, depth: number): unknown {
  if (pick(20) === 0) return wrong[pick(wrong.length)];
  switch (type.kind) {
    case 'string':
      return texts[pick(texts.length)];
    case 'enum':
      return type.values[pick(type.values.length)];
    case 'integer':
      return pick(4) === 0 ? type.max : type.min + pick(100);
    case 'number':
      return pick(4) === 0 ? type.max : type.min;
    case 'boolean':
      return pick(2) === 0;
    case 'duration':
      return ['1s', '250ms', '1h30m', '0s', '1.5s'][pick(5)];
    case 'list':
      return Array.from({ length: pick(3) + (type.nonEmpty ? 1 : 0) }, () => valueFor(type.item, pick, depth + 1));
    case 'map':
      return Object.fromEntries(
        Array.from({ length: pick(3) }, () => [texts[pick(15)], valueFor(type.value, pick, depth + 1)]),
      );
    case 'object':
      return objectOf(type.fields, pick, depth + 1);
    case 'any':
      return wrong[pick(wrong.length)];
  }
}

function objectOf(fields: Readonly<Record<string, Field>>, pick: Pick, depth: number): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    if (field.required === true ? pick(12) > 0 : pick(depth + 2) === 0) made[name] = valueFor(field.type, pick, depth);
  }
  if (pick(30) === 0) made[texts[pick(texts.length)] ?? ''] = 'x';
  return made;
}

/** A resource of one of all kinds, shaped by its field table, right or not quite. */
export function randomResource(pick: Pick): Record<string, unknown> {
  const table = kindTables[pick(kindTables.length)] as (typeof kindTables)[number];
  const version = table.versions[pick(table.versions.length)];
  return {
    apiVersion: table.group === '' ? version : `${table.group}/${version}`,
    kind: table.kind,
    ...(table.unnamed === true && pick(2) === 0 ? {} : { metadata: { name: 'a', namespace: 'shop' } }),
    ...objectOf(table.fields, pick, 0),
  };
}

const noise = [
  '\n',
  ' ',
  '\t',
  '---\n',
  '- ',
  ': ',
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  '*a',
  '&a ',
  '#',
  '|',
  '>',
  '%',
  '\u0000',
  '0x1',
  '<<: ',
  '? ',
  ',',
  '\\',
  '🙂',
];

/** The text of a document in one of several notations, now and then with noise in it. */
export function randomText(resource: unknown, pick: Pick): string {
  const style = pick(4);
  let text: string;
  if (style === 0) text = JSON.stringify(resource);
  else text = stringify(resource, { lineWidth: 0, ...(style === 1 ? { defaultStringType: 'QUOTE_SINGLE' } : {}) });
  for (let i = pick(3) === 0 ? pick(3) + 1 : 0; i > 0; i--) {
    const at = pick(text.length + 1);
    text = text.slice(0, at) + (noise[pick(noise.length)] ?? '') + text.slice(at + pick(3));
  }
  return text;
}

/** What came of one document; `wrong`: what must not be. */
export interface Verdict {
  readonly accepted: boolean;
  readonly wrong?: string;
}

/** Reads and compiles a text as production does, and holds the result against a second reading. */
export function tryText(text: string): Verdict {
  const { documents, problems } = parseYaml(text, 'f.yaml');
  const full = parseFully(text.startsWith('\uFEFF') ? text.slice(1) : text, 'f.yaml');
  const values = documents.map(({ value }) => value);
  const again = full.documents.map(({ value }) => value);
  if (JSON.stringify(values) !== JSON.stringify(again))
    return { accepted: false, wrong: 'two readers read two things' };
  const result: CompileResult = problems.length > 0 ? { ok: false, problems } : compile(documents, { workload: web });
  if (!result.ok) {
    const placeless = result.problems.find(({ at, message }) => at?.line === undefined || message === '');
    return placeless === undefined
      ? { accepted: false }
      : { accepted: false, wrong: `no place: ${describeProblem(placeless)}` };
  }
  // Written out and read again it is the same configuration.
  const written = values.map((value) => stringify(value)).join('---\n');
  const round = parseYaml(written, 'f.yaml');
  const other = compile(round.documents, { workload: web });
  if (!other.ok || other.snapshot.version !== result.snapshot.version)
    return { accepted: true, wrong: 'read again it is another' };
  return { accepted: true };
}
