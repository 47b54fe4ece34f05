/**
 * The language in which the field tables (`fields-*.ts`) describe resource kinds: what a field is,
 * and what inmesh does with it. Plain data; `check.ts` applies it, `support.ts` prints it.
 */

/** What inmesh does with a field. `refused`: a configuration that sets it is not accepted. */
export type FieldStatus = 'enforced' | 'approximated' | 'ignored' | 'refused';

export type FieldType =
  | {
      readonly kind: 'string';
      readonly pattern?: RegExp;
      /** What the text must be, for the message when `pattern` does not match. */
      readonly mustBe?: string;
      readonly minLength?: number;
      readonly maxLength?: number;
      /** Line breaks and other control characters are allowed. */
      readonly anyCharacter?: true;
    }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'number'; readonly min: number; readonly max: number }
  | { readonly kind: 'boolean' }
  /** Go's notation: `1.5s`, `1h30m`; at least 1 ms unless `min` says otherwise. */
  | {
      readonly kind: 'duration';
      readonly minMs: number;
      /** Fractions of a millisecond are allowed: everywhere, or only in what is cut off to 0. */
      readonly fractions?: 'all' | 'below 1ms';
    }
  | { readonly kind: 'list'; readonly item: FieldType; readonly nonEmpty: boolean; readonly maxItems?: number }
  | { readonly kind: 'map'; readonly value: FieldType; readonly key?: RegExp; readonly keyMustBe?: string }
  | ObjectType
  /** Anything at all: nothing in it is read. */
  | { readonly kind: 'any' };

export interface ObjectType {
  readonly kind: 'object';
  readonly fields: Readonly<Record<string, Field>>;
  /** Fields that are not listed are of no concern (Kubernetes kinds of which little is read). */
  readonly open: boolean;
  /** At most one of these may be set. */
  readonly oneOf?: readonly string[];
}

export interface Field {
  readonly type: FieldType;
  /** Absent: that of the field that contains it; `enforced` at the top. */
  readonly status?: FieldStatus;
  readonly note?: string;
  readonly required?: true;
  /** `null` is the same as absent (Istio's wrapped numbers and booleans). */
  readonly nullable?: true;
  /** A refused field that has no effect in some resources of its kind: the compiler knows where. */
  readonly refusedBy?: 'compiler';
}

/** The description of one resource kind. */
export interface KindTable {
  readonly kind: string;
  readonly group: string;
  /** Versions of the API that are read. */
  readonly versions: readonly string[];
  /** What becomes of resources of this kind as a whole. */
  readonly status: FieldStatus;
  readonly note?: string;
  /** There is one for the whole mesh, and it needs no `metadata`. */
  readonly unnamed?: true;
  /** The parts of a resource below the top level; `metadata` is common to all. */
  readonly fields: Readonly<Record<string, Field>>;
  /** What the fields mean, for people who look it up. */
  readonly reference: string;
}

/** In a table, a bare type stands for a field without remarks. */
export type FieldInput = Field | FieldType;

const isField = (input: FieldInput): input is Field => 'type' in input;

export const field = (input: FieldInput): Field => (isField(input) ? input : { type: input });

/** The field must be there. */
export const required = (input: FieldInput): Field => ({ ...field(input), required: true });

/** `null` is the same as absent. */
export const nullable = (input: FieldInput): Field => ({ ...field(input), nullable: true });

/** Read and checked, without any effect. */
export const ignored = (input: FieldInput, note?: string): Field => ({
  ...field(input),
  status: 'ignored',
  ...(note === undefined ? {} : { note }),
});

/** Does what is closest to Istio's meaning; the note says where it differs. */
export const approximated = (input: FieldInput, note: string): Field => ({
  ...field(input),
  status: 'approximated',
  note,
});

/** Not accepted: without it the configuration would be less secure than it says. */
export const refused = (input: FieldInput, note: string): Field => ({ ...field(input), status: 'refused', note });

/** Has its documented effect, also below a field that has not; the note adds a detail. */
export const enforced = (input: FieldInput, note?: string): Field => ({
  ...field(input),
  status: 'enforced',
  ...(note === undefined ? {} : { note }),
});

export const string = (options?: {
  pattern?: RegExp;
  mustBe?: string;
  minLength?: number;
  maxLength?: number;
  anyCharacter?: true;
}): FieldType => ({
  kind: 'string',
  ...options,
});
/** A text of any characters, line breaks too. */
export const text: FieldType = { kind: 'string', anyCharacter: true };
export const oneOfValues = (...values: readonly string[]): FieldType => ({ kind: 'enum', values });
export const integer = (min = 0, max = 2_147_483_647): FieldType => ({ kind: 'integer', min, max });
export const number = (min: number, max: number): FieldType => ({ kind: 'number', min, max });
export const boolean: FieldType = { kind: 'boolean' };
export const duration = (minMs = 1, fractions?: 'all' | 'below 1ms'): FieldType => ({
  kind: 'duration',
  minMs,
  ...(fractions === undefined ? {} : { fractions }),
});
export const list = (item: FieldType, maxItems?: number): FieldType => ({
  kind: 'list',
  item,
  nonEmpty: false,
  ...(maxItems === undefined ? {} : { maxItems }),
});
export const nonEmptyList = (item: FieldType): FieldType => ({ kind: 'list', item, nonEmpty: true });
export const map = (value: FieldType, key?: { pattern: RegExp; mustBe: string }): FieldType => ({
  kind: 'map',
  value,
  ...(key === undefined ? {} : { key: key.pattern, keyMustBe: key.mustBe }),
});
export const any: FieldType = { kind: 'any' };

/** A closed object: a field that is not listed is an error. */
export const object = (fields: Readonly<Record<string, FieldInput>>, oneOf?: readonly string[]): ObjectType => ({
  kind: 'object',
  fields: Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, field(input)])),
  open: false,
  ...(oneOf === undefined ? {} : { oneOf }),
});

/** An object of which only the listed fields are read and checked. */
export const openObject = (fields: Readonly<Record<string, FieldInput>>): ObjectType => ({
  ...object(fields),
  open: true,
});
