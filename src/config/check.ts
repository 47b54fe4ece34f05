import type { Collector, Subject } from './collector.ts';
import type { Path } from './document.ts';
import type { Field, FieldStatus, FieldType, ObjectType } from './schema.ts';
import { parseDurationMs, suggest } from './values.ts';

/**
 * Checks the fields of a resource against its table: unknown fields, types, ranges and refused
 * fields become problems; what is configured goes into the report. Whatever this accepts has the
 * shape that the table says, so that compilers may rely on it.
 */
export function checkFields(
  subject: Subject,
  body: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, Field>>,
  collector: Collector,
  status: FieldStatus = 'enforced',
): void {
  const context: Context = { subject, collector, reported: new Map() };
  checkObject({ kind: 'object', fields, open: true }, body, [], '', status, context);
}

/** A field without full effect is reported this often in one resource. */
const maxReports = 10;

interface Context {
  readonly subject: Subject;
  readonly collector: Collector;
  /** Fields already in the report, without indices: ten thousand endpoints are one line. */
  readonly reported: Map<string, number>;
}

function checkObject(
  type: ObjectType,
  value: Readonly<Record<string, unknown>>,
  path: Path,
  pattern: string,
  status: FieldStatus,
  context: Context,
): void {
  const { subject, collector } = context;
  for (const name of Object.keys(value)) {
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (field !== undefined) {
      checkField(field, value[name], [...path, name], pattern === '' ? name : `${pattern}.${name}`, status, context);
    } else if (!type.open) {
      collector.problemAtKey(subject, [...path, name], unknownField(name, Object.keys(type.fields)), value[name]);
    }
  }
  for (const [name, field] of Object.entries(type.fields)) {
    if (field.required === true && !Object.hasOwn(value, name)) {
      collector.problem(subject, path, `needs the field ${name}`);
    }
  }
  const set = type.oneOf?.filter((name) => Object.hasOwn(value, name)) ?? [];
  if (set.length > 1) collector.problem(subject, path, `may have only one of ${set.join(' and ')}`);
}

/** What is said of a field that a table does not have. */
export function unknownField(name: string, known: readonly string[]): string {
  const meant = suggest(name, known);
  return meant === undefined ? 'is not a field that is known here' : `is not a known field (did you mean ${meant}?)`;
}

function checkField(
  field: Field,
  value: unknown,
  path: Path,
  pattern: string,
  inherited: FieldStatus,
  context: Context,
): void {
  const { subject, collector } = context;
  if (value === null && field.nullable === true) return;
  const ofTable = field.status ?? inherited;
  // Where the compiler does not refuse it, it has no effect.
  const status = field.refusedBy === 'compiler' ? 'ignored' : ofTable;
  if (status === 'refused') {
    collector.refuse(subject, path, `is refused: ${field.note ?? 'not supported'}`, value);
    // It may be invalid on top of that.
    checkType(field.type, value, path, pattern, 'ignored', context);
    return;
  }
  const before = collector.problems.length;
  checkType(field.type, value, path, pattern, status, context);
  if (collector.problems.length > before) return;
  if (status === 'enforced') {
    if (!hasFields(field.type, value)) reportEnforced(path, pattern, context);
  } else if (field.status !== undefined && !(inherited === 'ignored' && status === 'ignored')) {
    if (countReports(pattern, context) <= maxReports)
      collector.entry(subject, path, status, field.refusedBy === 'compiler' ? undefined : field.note);
  }
}

/** The value has fields of its own, which are reported instead of it. */
function hasFields(type: FieldType, value: unknown): boolean {
  if (type.kind === 'object') return Object.keys(value as object).length > 0;
  if (type.kind === 'list') return (value as readonly unknown[]).length > 0 && isComposite(type.item);
  if (type.kind === 'map') return Object.keys(value as object).length > 0 && isComposite(type.value);
  return false;
}

function isComposite(type: FieldType): boolean {
  return type.kind === 'object' || type.kind === 'list' || type.kind === 'map';
}

function reportEnforced(path: Path, pattern: string, context: Context): void {
  if (countReports(pattern, context) === 1) context.collector.entry(context.subject, path, 'enforced');
}

/** How often a field has been met in this resource, this time included. */
function countReports(pattern: string, { reported }: Context): number {
  const count = (reported.get(pattern) ?? 0) + 1;
  reported.set(pattern, count);
  return count;
}

function checkType(
  type: FieldType,
  value: unknown,
  path: Path,
  pattern: string,
  status: FieldStatus,
  context: Context,
): void {
  const { subject, collector } = context;
  if (type.kind === 'any') return;
  if (!hasType(type, value)) {
    const hint = type.kind === 'string' && typeof value === 'number' ? '; put it in quotes' : '';
    collector.problem(subject, path, `must be ${describeType(type)}${hint}`, value);
    return;
  }
  if (type.kind === 'list') {
    const items = value as readonly unknown[];
    items.forEach((item, index) => {
      checkItem(type.item, item, [...path, index], `${pattern}[]`, status, context);
    });
  } else if (type.kind === 'map') {
    for (const [key, item] of Object.entries(value as Readonly<Record<string, unknown>>)) {
      if (type.key !== undefined && !type.key.test(key)) {
        collector.problem(subject, [...path, key], `the key must be ${type.keyMustBe ?? 'different'}`, key);
      } else {
        checkItem(type.value, item, [...path, key], `${pattern}{}`, status, context);
      }
    }
  } else if (type.kind === 'object') {
    checkObject(type, value as Readonly<Record<string, unknown>>, path, pattern, status, context);
  } else if (type.kind === 'enum') {
    checkEnum(type.values, value as string, path, context);
  }
}

function checkItem(
  type: FieldType,
  value: unknown,
  path: Path,
  pattern: string,
  status: FieldStatus,
  context: Context,
): void {
  const before = context.collector.problems.length;
  checkType(type, value, path, pattern, status, context);
  const empty = type.kind === 'object' && context.collector.problems.length === before && !hasFields(type, value);
  // `headers: {x-debug: {}}` has a meaning although nothing is inside.
  if (status === 'enforced' && empty) reportEnforced(path, pattern, context);
}

function checkEnum(values: readonly string[], value: string, path: Path, context: Context): void {
  if (values.includes(value)) return;
  const meant = suggest(value, values);
  const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
  context.collector.problem(context.subject, path, `must be one of ${values.join(', ')}${hint}`, value);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const controlCharacter = /[\u0000-\u001F\u007F]/;

function hasType(type: FieldType, value: unknown): boolean {
  switch (type.kind) {
    case 'string':
      return (
        typeof value === 'string' &&
        (type.anyCharacter === true || !controlCharacter.test(value)) &&
        value.length >= (type.minLength ?? 0) &&
        value.length <= (type.maxLength ?? Number.POSITIVE_INFINITY) &&
        (type.pattern === undefined || type.pattern.test(value))
      );
    case 'enum':
      return typeof value === 'string';
    case 'integer':
      return Number.isInteger(value) && (value as number) >= type.min && (value as number) <= type.max;
    case 'number':
      return typeof value === 'number' && value >= type.min && value <= type.max;
    case 'boolean':
      return typeof value === 'boolean';
    case 'duration': {
      const ms = typeof value === 'string' ? parseDurationMs(value) : undefined;
      return ms !== undefined && ms >= type.minMs;
    }
    case 'list':
      return (
        Array.isArray(value) &&
        (!type.nonEmpty || value.length > 0) &&
        value.length <= (type.maxItems ?? Number.POSITIVE_INFINITY)
      );
    case 'map':
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    default:
      return true;
  }
}

/** What a field of this type must be, in words that follow "must be". */
export function describeType(type: FieldType): string {
  switch (type.kind) {
    case 'string':
      if (type.mustBe !== undefined) return type.mustBe;
      if (type.minLength === 1 && type.maxLength === undefined) return 'a text that is not empty';
      if (type.minLength !== undefined) return `a text of ${type.minLength} to ${type.maxLength} characters`;
      return type.maxLength === undefined ? 'a text' : `a text of at most ${type.maxLength} characters`;
    case 'enum':
      return `one of ${type.values.join(', ')}`;
    case 'integer':
      return `an integer from ${type.min} to ${type.max}`;
    case 'number':
      return `a number from ${type.min} to ${type.max}`;
    case 'boolean':
      return 'true or false';
    case 'duration':
      return `a duration such as 250ms, 1.5s or 1h30m, in whole milliseconds, at least ${type.minMs}ms`;
    case 'list':
      if (type.maxItems !== undefined) return `a list with at most ${type.maxItems} entries`;
      return type.nonEmpty ? 'a list with at least one entry' : 'a list';
    case 'map':
    case 'object':
      return 'a map of fields';
    default:
      return 'anything';
  }
}
