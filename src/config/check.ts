import { suggest } from '../lib/suggest.ts';
import type { Collector, Subject } from './collector.ts';
import type { Field, FieldStatus, FieldType, ObjectType } from './schema.ts';
import { parseDurationMs, parseFractionalMs } from './values.ts';

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
  const type: ObjectType = { kind: 'object', fields, open: true };
  checkObject(type, body, undefined, status, { subject, collector, path: [], resource: 0 });
  // Most reports are never read.
  collector.later((into) => {
    const context = { subject, collector: into, path: [], resource: ++resources };
    checkObject(type, body, patternOf(fields), status, context);
  });
}

/** A field without full effect is reported this often in one resource. */
const maxReports = 10;

interface Context {
  readonly subject: Subject;
  readonly collector: Collector;
  /** Where the check is just now; always the same list, because most places are never reported. */
  readonly path: (string | number)[];
  readonly resource: number;
}

/** A field wherever it occurs, without indices: in the report ten thousand endpoints are one line. */
interface Pattern {
  readonly inside: Map<string, Pattern>;
  /** How often it was met in that resource. */
  count: number;
  resource: number;
}

/** Numbers the resources, so that the counts of one are not taken for those of another. */
let resources = 0;
/** The fields of a table, which are the same for all resources of a kind. */
const patterns = new WeakMap<object, Pattern>();
const requiredFields = new WeakMap<object, readonly string[]>();

function patternOf(fields: object): Pattern {
  let pattern = patterns.get(fields);
  if (pattern === undefined) patterns.set(fields, (pattern = newPattern()));
  return pattern;
}

function newPattern(): Pattern {
  return { inside: new Map(), count: 0, resource: 0 };
}

function inside(outer: Pattern | undefined, name: string): Pattern | undefined {
  if (outer === undefined) return undefined;
  let pattern = outer.inside.get(name);
  if (pattern === undefined) outer.inside.set(name, (pattern = newPattern()));
  return pattern;
}

function requiredOf(fields: Readonly<Record<string, Field>>): readonly string[] {
  let names = requiredFields.get(fields);
  if (names === undefined) {
    names = Object.keys(fields).filter((name) => fields[name]?.required === true);
    requiredFields.set(fields, names);
  }
  return names;
}

function checkObject(
  type: ObjectType,
  value: Readonly<Record<string, unknown>>,
  /** Nothing: nobody asks for the report now. */
  pattern: Pattern | undefined,
  status: FieldStatus,
  context: Context,
): void {
  const { subject, collector, path } = context;
  for (const name of Object.keys(value)) {
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (field !== undefined) {
      path.push(name);
      checkField(field, value[name], inside(pattern, name), status, context);
      path.pop();
    } else if (!type.open) {
      collector.problemAtKey(subject, [...path, name], unknownField(name, Object.keys(type.fields)), value[name]);
    }
  }
  for (const name of requiredOf(type.fields)) {
    if (!Object.hasOwn(value, name)) collector.problem(subject, [...path], `needs the field ${name}`);
  }
  if (type.oneOf === undefined) return;
  const set = type.oneOf.filter((name) => Object.hasOwn(value, name));
  if (set.length > 1) collector.problem(subject, [...path], `may have only one of ${set.join(' and ')}`);
}

/** What is said of a field that a table does not have. */
export function unknownField(name: string, known: readonly string[]): string {
  const meant = suggest(name, known);
  return meant === undefined ? 'is not a field that is known here' : `is not a known field (did you mean ${meant}?)`;
}

function checkField(
  field: Field,
  value: unknown,
  pattern: Pattern | undefined,
  inherited: FieldStatus,
  context: Context,
): void {
  const { subject, collector, path } = context;
  if (value === null && field.nullable === true) return;
  if (value === null && field.required !== true) {
    // Kubernetes leaves it out, and the author may have meant something else.
    collector.refuse(subject, [...path], `must be ${describeType(field.type)}`, value);
    return;
  }
  const ofTable = field.status ?? inherited;
  // Where the compiler does not refuse it, it has no effect.
  const status = field.refusedBy === 'compiler' ? 'ignored' : ofTable;
  if (status === 'refused') {
    collector.refuse(subject, [...path], `is refused: ${field.note ?? 'not supported'}`, value);
    // It may be invalid on top of that.
    checkType(field.type, value, pattern, 'ignored', context);
    return;
  }
  const before = collector.problems.length;
  checkType(field.type, value, pattern, status, context);
  if (pattern === undefined || collector.problems.length > before) return;
  if (status === 'enforced') {
    if (!hasFields(field.type, value)) reportEnforced(pattern, context);
  } else if (field.status !== undefined && !(inherited === 'ignored' && status === 'ignored')) {
    if (countReports(pattern, context) <= maxReports)
      collector.entry(subject, [...path], status, field.refusedBy === 'compiler' ? undefined : field.note);
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

function reportEnforced(pattern: Pattern, context: Context): void {
  if (countReports(pattern, context) === 1) context.collector.entry(context.subject, [...context.path], 'enforced');
}

/** How often a field has been met in this resource, this time included. */
function countReports(pattern: Pattern, { resource }: Context): number {
  if (pattern.resource !== resource) {
    pattern.resource = resource;
    pattern.count = 0;
  }
  return ++pattern.count;
}

function checkType(
  type: FieldType,
  value: unknown,
  pattern: Pattern | undefined,
  status: FieldStatus,
  context: Context,
): void {
  const { subject, collector, path } = context;
  if (type.kind === 'any') return;
  if (!hasType(type, value)) {
    const hint = type.kind === 'string' && typeof value === 'number' ? '; put it in quotes' : '';
    collector.problem(subject, [...path], `must be ${describeType(type)}${hint}`, value);
    return;
  }
  if (type.kind === 'string') {
    // Istio takes them; in a header or a log they would be more than text.
    if (status !== 'ignored' && type.anyCharacter !== true && controlCharacter.test(value as string)) {
      collector.refuse(subject, [...path], 'must not have control characters', value);
    }
  } else if (type.kind === 'list') {
    const items = value as readonly unknown[];
    const each = inside(pattern, '[]');
    for (let index = 0; index < items.length; index++) {
      path.push(index);
      checkItem(type.item, items[index], each, status, context);
      path.pop();
    }
  } else if (type.kind === 'map') {
    const each = inside(pattern, '{}');
    for (const [key, item] of Object.entries(value as Readonly<Record<string, unknown>>)) {
      if (type.key !== undefined && !type.key.test(key)) {
        collector.problem(subject, [...path, key], `the key must be ${type.keyMustBe ?? 'different'}`, key);
      } else {
        path.push(key);
        checkItem(type.value, item, each, status, context);
        path.pop();
      }
    }
  } else if (type.kind === 'object') {
    checkObject(type, value as Readonly<Record<string, unknown>>, pattern, status, context);
  } else if (type.kind === 'enum') {
    if (!type.values.includes(value as string)) refuseWord(type.values, value as string, context);
  }
}

function checkItem(
  type: FieldType,
  value: unknown,
  pattern: Pattern | undefined,
  status: FieldStatus,
  context: Context,
): void {
  const before = context.collector.problems.length;
  checkType(type, value, pattern, status, context);
  if (pattern === undefined) return;
  const empty = type.kind === 'object' && context.collector.problems.length === before && !hasFields(type, value);
  // `headers: {x-debug: {}}` has a meaning although nothing is inside.
  if (status === 'enforced' && empty) reportEnforced(pattern, context);
}

function refuseWord(values: readonly string[], value: string, { collector, path, subject }: Context): void {
  const meant = suggest(value, values);
  const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
  collector.problem(subject, [...path], `must be one of ${values.join(', ')}${hint}`, value);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const controlCharacter = /[\u0000-\u001F\u007F]/;

/** A schema counts characters, not their UTF-16 units. */
function hasAtMost(maxLength: number, text: string): boolean {
  return text.length <= maxLength || (text.length <= 2 * maxLength && [...text].length <= maxLength);
}

function hasType(type: FieldType, value: unknown): boolean {
  switch (type.kind) {
    case 'string':
      return (
        typeof value === 'string' &&
        value.length >= (type.minLength ?? 0) &&
        (type.maxLength === undefined || hasAtMost(type.maxLength, value)) &&
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
      if (typeof value !== 'string') return false;
      const ms = type.fractions === undefined ? parseDurationMs(value) : parseFractionalMs(value);
      if (ms === undefined) return false;
      if (type.fractions !== 'below 1ms') return ms >= type.minMs;
      return Math.trunc(ms) === 0 || (ms >= type.minMs && parseDurationMs(value) !== undefined);
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
      return type.min === Number.MIN_VALUE ? 'a number above 0' : `a number from ${type.min} to ${type.max}`;
    case 'boolean':
      return 'true or false';
    case 'duration':
      if (type.fractions === 'all') return describeDuration(type.minMs);
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

function describeDuration(minMs: number): string {
  const form = 'a duration such as 250ms, 1.5s or 1h30m';
  return minMs === Number.NEGATIVE_INFINITY ? form : `${form}, at least ${minMs}ms`;
}
