import { kindTables } from './kinds.ts';
import type { Field, FieldStatus, FieldType, KindTable } from './schema.ts';

/**
 * The tables of `docs/support.md`, made from the same field tables that check configuration, so
 * that documentation cannot claim what the code does not do.
 */
export function describeSupport(): string {
  return kindTables.map((table) => describeKind(table)).join('\n\n');
}

function describeKind(table: KindTable): string {
  const versions = table.versions.map((version) => (table.group === '' ? version : `${table.group}/${version}`));
  const lines = [
    `### ${table.kind}`,
    '',
    `\`${versions.join('`, `')}\` · **${table.status}**${table.note === undefined ? '' : ` · ${table.note}`} · [reference](${table.reference})`,
  ];
  const rows = table.status === 'enforced' ? rowsOf(table.fields) : [];
  if (rows.length > 0) lines.push('', '| field | status | remarks |', '|---|---|---|', ...rows);
  return lines.join('\n');
}

function rowsOf(fields: Readonly<Record<string, Field>>): readonly string[] {
  const rows: string[] = [];
  // The same description is used in several places: a traffic policy for a host and for a subset.
  const described = new Map<FieldType, string>();
  const visit = (name: string, field: Field, inherited: FieldStatus): void => {
    const status = field.status ?? inherited;
    const inner = fieldsBelow(field.type, name);
    const notes = field.note === undefined ? [] : [field.note];
    if (field.required === true) notes.unshift('required');
    const same = inner === undefined ? undefined : described.get(inner.type);
    // What is inside an ignored or refused field shares its fate.
    const closed = status !== 'enforced';
    if (inner === undefined || closed) rows.push(row(name, status, notes));
    else if (same !== undefined) rows.push(row(name, status, [...notes, `as \`${same}\``]));
    else {
      described.set(inner.type, name);
      if (notes.some((note) => note !== 'required')) rows.push(row(name, status, notes));
      for (const [key, each] of Object.entries(inner.fields)) visit(`${inner.prefix}.${key}`, each, status);
    }
  };
  for (const [name, field] of Object.entries(fields)) visit(name, field, 'enforced');
  return rows;
}

interface Inner {
  readonly type: FieldType;
  readonly prefix: string;
  readonly fields: Readonly<Record<string, Field>>;
}

function fieldsBelow(type: FieldType, prefix: string): Inner | undefined {
  if (type.kind === 'list') return fieldsBelow(type.item, `${prefix}[]`);
  if (type.kind === 'map') return fieldsBelow(type.value, `${prefix}{}`);
  if (type.kind !== 'object') return undefined;
  return { type, prefix, fields: type.fields };
}

function row(name: string, status: FieldStatus, notes: readonly string[]): string {
  return `| \`${name}\` | ${status} | ${notes.join('; ').replaceAll('|', '\\|')} |`;
}
