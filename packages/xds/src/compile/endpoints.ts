import type { Any } from '../proto/any.ts';
import { string } from '../proto/kinds.ts';
import { type Schema, schema, single } from '../proto/schema.ts';
import { messageNames } from '../resources.ts';
import { type Read, readerOf } from './reader.ts';

interface Named {
  readonly cluster_name: string;
}

const named: Schema<Named> = schema<Named>(messageNames.endpoints, { fields: { cluster_name: single(1, string) } });

export const readEndpoints: (any: Any) => Read<Named> = readerOf('endpoints', named, (message) => message);
