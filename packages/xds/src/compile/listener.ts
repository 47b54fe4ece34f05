import type { Any } from '../proto/any.ts';
import { string } from '../proto/kinds.ts';
import { type Schema, schema, single } from '../proto/schema.ts';
import { messageNames } from '../resources.ts';
import { type Read, readerOf } from './reader.ts';

interface Named {
  readonly name: string;
}

const named: Schema<Named> = schema<Named>(messageNames.listeners, { fields: { name: single(1, string) } });

export const readListener: (any: Any) => Read<Named> = readerOf('listeners', named, (message) => message);
