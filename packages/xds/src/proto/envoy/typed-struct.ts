import { string } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';
import { type JsonObject, struct } from '../struct.ts';

/** `xds.type.v3.TypedStruct`. */
export interface TypedStruct {
  readonly type_url: string;
  readonly value: JsonObject | undefined;
}

export const typedStructSchema: Schema<TypedStruct> = schema<TypedStruct>('xds.type.v3.TypedStruct', {
  fields: {
    type_url: single(1, string),
    value: single(2, struct),
  },
});

/** `udpa.type.v1.TypedStruct`. */
export interface UdpaTypedStruct {
  readonly type_url: string;
  readonly value: JsonObject | undefined;
}

export const udpaTypedStructSchema: Schema<UdpaTypedStruct> = schema<UdpaTypedStruct>('udpa.type.v1.TypedStruct', {
  fields: {
    type_url: single(1, string),
    value: single(2, struct),
  },
});
