import { WireType } from '@bufbuild/protobuf/wire';
import { bounds } from './bounds.ts';
import { bytesField, eachField, textField } from './fields.ts';
import { badAnswer } from './problem.ts';

/** A JSON value. */
export type ClaimValue =
  | string
  | number
  | boolean
  | null
  | readonly ClaimValue[]
  | { readonly [name: string]: ClaimValue };

/** The claims of a token: an object without a prototype, so that every name in it is a claim. */
export type Claims = Readonly<Record<string, ClaimValue>>;

interface Budget {
  values: number;
}

/** Reads a `google.protobuf.Struct`. Numbers are doubles there, also `exp`. */
export function readStruct(bytes: Uint8Array): Claims {
  return structAt(bytes, 0, { values: bounds.claimValues });
}

function structAt(bytes: Uint8Array, depth: number, budget: Budget): Claims {
  const claims: Record<string, ClaimValue> = Object.create(null);
  eachField(bytes, {
    1: bytesField((entry) => {
      let name = '';
      let value: ClaimValue = null;
      take(budget);
      eachField(entry, {
        1: textField((text) => (name = text)),
        2: bytesField((content) => (value = valueAt(content, depth + 1, budget))),
      });
      claims[name] = value;
    }),
  });
  return claims;
}

function valueAt(bytes: Uint8Array, depth: number, budget: Budget): ClaimValue {
  if (depth > bounds.claimDepth) throw badAnswer(`claims nested deeper than ${bounds.claimDepth}`);
  let value: ClaimValue = null;
  eachField(bytes, {
    1: {
      type: WireType.Varint,
      read: (reader) => {
        reader.int32();
        value = null;
      },
    },
    2: { type: WireType.Bit64, read: (reader) => void (value = reader.double()) },
    3: textField((text) => (value = text)),
    4: { type: WireType.Varint, read: (reader) => void (value = reader.bool()) },
    5: bytesField((content) => (value = structAt(content, depth, budget))),
    6: bytesField((content) => {
      const list: ClaimValue[] = [];
      const add = (item: Uint8Array): void => {
        take(budget);
        list.push(valueAt(item, depth + 1, budget));
      };
      eachField(content, { 1: bytesField(add) });
      value = list;
    }),
  });
  return value;
}

function take(budget: Budget): void {
  if (budget.values-- <= 0) throw badAnswer(`claims of more than ${bounds.claimValues} values`);
}
