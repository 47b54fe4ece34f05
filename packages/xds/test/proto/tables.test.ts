import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import t from 'tap';
import type { Field, Schema } from '../../src/proto/schema.ts';

/**
 * Compares our tables of fields with the `.proto` files that gRPC ships. Their snapshot of Envoy's
 * API is of July 2024: what is newer than that is listed here.
 */
const newer: Readonly<Record<string, readonly string[]>> = {
  'envoy.config.core.v3.ProxyProtocolConfig': ['added_tlvs'],
  'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport': [
    'allow_unspecified_address',
    'tlv_as_pool_key',
  ],
  'envoy.config.route.v3.RouteMatch': ['filter_state', 'cookies'],
  'envoy.service.discovery.v3.DiscoveryResponse': ['resource_errors'],
  'envoy.service.discovery.v3.DeltaDiscoveryResponse': ['resource_errors'],
};

/** Messages that are in no file there: newer ones, and those of Istio. */
const unknownMessages: readonly RegExp[] = [/^envoy\.service\.discovery\.v3\.ResourceError$/, /^istio\./];

const folder = join(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json'), '../deps');
const root = new protobuf.Root();
for (const file of ['any', 'duration', 'empty', 'field_mask', 'struct', 'timestamp', 'wrappers']) {
  root.addJSON(protobuf.common.get(`google/protobuf/${file}.proto`)?.nested ?? {});
}
for (const part of ['envoy-api', 'xds', 'googleapis']) {
  for (const file of readdirSync(join(folder, part), { recursive: true, withFileTypes: true })) {
    if (
      !file.name.endsWith('.proto') ||
      /\/(v2|v2alpha|v1alpha1|api)(\/|$)/.test(file.parentPath.slice(folder.length + part.length + 1))
    )
      continue;
    protobuf.parse(readFileSync(join(file.parentPath, file.name), 'utf8'), root, { keepCase: true });
  }
}

// Conditions in CEL are in no file of the ones above; nobody here reads them.
protobuf.parse('syntax = "proto3"; package google.api.expr.v1alpha1; message Expr {} message CheckedExpr {}', root);

/** All tables under `src/proto/envoy`, and those that they reach. */
async function tables(): Promise<ReadonlyMap<string, Schema<unknown>[]>> {
  const place = new URL('../../src/proto/envoy/', import.meta.url);
  const found = new Map<string, Schema<unknown>[]>();
  const seen = new Set<Schema<unknown>>();
  const visit = (schema: Schema<unknown>): void => {
    if (seen.has(schema)) return;
    seen.add(schema);
    found.set(schema.name, [...(found.get(schema.name) ?? []), schema]);
    for (const [, { kind }] of schema.fields) if (kind.schema !== undefined) visit(kind.schema());
  };
  for (const file of readdirSync(place, { recursive: true })) {
    const exported: Record<string, unknown> = await import(new URL(String(file), place).href);
    for (const value of Object.values(exported)) if (isSchema(value)) visit(value);
  }
  return found;
}

const isSchema = (value: unknown): value is Schema<unknown> =>
  typeof value === 'object' && value !== null && 'byNumber' in value && 'fields' in value;

function lookUp(name: string): protobuf.Type | undefined {
  try {
    return root.lookupType(name);
  } catch {
    return undefined;
  }
}

/** Everything that is wrong with one table. */
function differences(schema: Schema<unknown>, type: protobuf.Type): readonly string[] {
  const wrong: string[] = [];
  const read = new Map(schema.fields);
  const late = newer[schema.name] ?? [];
  for (const field of type.fieldsArray) {
    const ours = read.get(field.name);
    const ignored = schema.ignored.get(field.id);
    if (ours === undefined) {
      if (ignored !== field.name) wrong.push(`field ${field.id} ${field.name} is neither read nor ignored by its name`);
    } else {
      wrong.push(...fieldDifferences(ours, field).map((what) => `${field.name}: ${what}`));
    }
  }
  for (const [name] of schema.fields) {
    if (type.fields[name] === undefined && !late.includes(name)) wrong.push(`there is no field ${name}`);
  }
  for (const [id, name] of schema.ignored) {
    if (read.has(name)) wrong.push(`${name} is read and ignored`);
    if (type.fields[name]?.id !== id && !late.includes(name)) wrong.push(`there is no field ${id} ${name} to ignore`);
  }
  for (const { name, fieldsArray } of type.oneofsArray) {
    if (name.startsWith('_')) continue;
    const alternatives = fieldsArray.map((field) => field.name).filter((field) => read.has(field));
    if (alternatives.length < 2) continue;
    const ours = schema.oneofs.find((names) => names.includes(alternatives[0] ?? ''));
    if (ours === undefined || ours.toSorted().join() !== alternatives.toSorted().join()) {
      wrong.push(`oneof ${name} is ${alternatives.join(', ')}, not ${ours?.join(', ') ?? 'absent'}`);
    }
  }
  for (const names of schema.oneofs) {
    const of = new Set(names.map((name) => type.fields[name]?.partOf?.name ?? name));
    if (of.size !== 1) wrong.push(`${names.join(', ')} are no oneof`);
  }
  return wrong;
}

const scalars: ReadonlySet<string> = new Set(Object.keys(protobuf.types.basic));

function fieldDifferences({ kind, label, number }: Field<unknown>, field: protobuf.Field): readonly string[] {
  const wrong: string[] = [];
  try {
    field.resolve();
  } catch (error) {
    return [String(error)];
  }
  if (number !== field.id) wrong.push(`has number ${field.id}, not ${number}`);
  const wanted = field.map ? 'map' : field.repeated ? 'repeated' : undefined;
  const plural = label === 'map' || label === 'repeated' ? label : undefined;
  if (wanted !== plural) wrong.push(`is ${wanted ?? 'single'}, not ${label}`);
  if (field instanceof protobuf.MapField && field.keyType !== 'string') wrong.push(`has keys of type ${field.keyType}`);
  const isScalar = scalars.has(field.type) || field.resolvedType instanceof protobuf.Enum;
  if (isScalar && field.partOf !== null && field.partOf !== undefined && label !== 'optional') {
    wrong.push('may be absent: optional, not single');
  }
  if (isScalar && !field.partOf && label === 'optional')
    wrong.push('is never told apart from zero: single, not optional');
  if (field.resolvedType instanceof protobuf.Enum)
    return [...wrong, ...enumDifferences(kind.names, field.resolvedType)];
  const type = field.resolvedType === null ? field.type : field.resolvedType.fullName.slice(1);
  const ours = kind.type === 'message' ? kind.schema?.().name : kind.type;
  if (ours !== type) wrong.push(`is ${type}, not ${ours}`);
  if (field.resolvedType === null && !scalars.has(field.type))
    wrong.push(`has the type ${field.type}, which is in no file`);
  return wrong;
}

function enumDifferences(
  names: readonly (string | undefined)[] | undefined,
  { valuesById }: protobuf.Enum,
): readonly string[] {
  if (names === undefined) return ['is an enumeration'];
  const wrong: string[] = [];
  for (const [number, name] of names.entries()) {
    if (name !== undefined && valuesById[number] !== name)
      wrong.push(`${number} is ${valuesById[number]}, not ${name}`);
  }
  for (const [number, name] of Object.entries(valuesById)) {
    if (names[Number(number)] === undefined) wrong.push(`${number} has the name ${name}`);
  }
  return wrong;
}

t.test(
  'every table says what the file of its message says: names, numbers, kinds, oneofs, and what is not read',
  async (t) => {
    const all = await tables();
    t.ok(all.size >= 10, `${all.size} messages`);
    for (const [name, schemas] of all) {
      const type = lookUp(name);
      if (type === undefined) {
        t.ok(
          unknownMessages.some((pattern) => pattern.test(name)),
          `${name} is in one of the files`,
        );
        continue;
      }
      for (const schema of schemas) t.same(differences(schema, type), [], name);
    }
  },
);

t.test('the comparison sees each thing that can be wrong with a table', async (t) => {
  const { mapOf, optional, repeated, schema, single } = await import('../../src/proto/schema.ts');
  const { duration, enumOf, string, uint32, uint64, wrapped } = await import('../../src/proto/kinds.ts');
  const { file } = {
    file: `syntax = "proto3"; package test; import "google/protobuf/wrappers.proto";
    enum E { ZERO = 0; ONE = 1; }
    message M { string a = 1; E e = 2; repeated uint32 n = 3; map<string, string> m = 4; oneof o { string x = 5; string y = 6; }
      google.protobuf.UInt32Value w = 7; google.protobuf.Duration d = 8; uint64 left = 9; }`,
  };
  protobuf.parse(file, root, { keepCase: true });
  const type = root.lookupType('test.M');
  const right = {
    a: single(1, string),
    e: single(2, enumOf('ZERO', 'ONE')),
    n: repeated(3, uint32),
    m: mapOf(4, string),
    x: optional(5, string),
    y: optional(6, string),
    w: single(7, wrapped(uint32)),
    d: single(8, duration),
  };
  type Fields = Record<string, Field<unknown>>;
  const check = (fields: Fields, ignored: Record<number, string> = { 9: 'left' }, oneofs: string[][] = [['x', 'y']]) =>
    differences(schema<Record<string, unknown>>('test.M', { fields, ignored, oneofs }), type);
  t.same(check(right as Fields), []);
  const cases: readonly (readonly [Fields, RegExp])[] = [
    [{ a: single(10, string) as Field<unknown> }, /a: has number 1, not 10/],
    [{ a: single(1, uint32) as Field<unknown> }, /a: is string, not uint32/],
    [{ a: repeated(1, string) as Field<unknown> }, /a: is single, not repeated/],
    [{ a: optional(1, string) as Field<unknown> }, /a: is never told apart/],
    [{ e: single(2, enumOf('ZERO', 'TWO')) as Field<unknown> }, /e: 1 is ONE, not TWO/],
    [{ e: single(2, enumOf('ZERO')) as Field<unknown> }, /e: 1 has the name ONE/],
    [{ n: single(3, uint32) as Field<unknown> }, /n: is repeated, not single/],
    [{ m: repeated(4, string) as Field<unknown> }, /m: is map, not repeated/],
    [{ x: single(5, string) as Field<unknown> }, /x: may be absent/],
    [{ w: single(7, uint32) as Field<unknown> }, /w: is google\.protobuf\.UInt32Value, not uint32/],
    [
      { d: single(8, wrapped(uint64)) as Field<unknown> },
      /d: is google\.protobuf\.Duration, not google\.protobuf\.UInt64Value/,
    ],
    [{ z: single(20, string) as Field<unknown> }, /there is no field z/],
  ];
  for (const [fields, message] of cases) t.match(check({ ...right, ...fields } as Fields).join(), message);
  t.match(check(right as Fields, {}).join(), /field 9 left is neither read nor ignored/);
  t.match(check(right as Fields, { 9: 'right' }).join(), /field 9 left is neither.*there is no field 9 right/);
  t.match(check(right as Fields, { 9: 'left' }, []).join(), /oneof o is x, y, not absent/);
});
