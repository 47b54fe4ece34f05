import type { Any } from '../proto/any.ts';
import { string } from '../proto/kinds.ts';
import { type Schema, schema, single } from '../proto/schema.ts';
import { messageNames } from '../resources.ts';
import { type Read, readerOf } from './reader.ts';

interface Named {
  readonly name: string;
}

const named: Schema<Named> = schema<Named>(messageNames.clusters, { fields: { name: single(1, string) } });

export const readCluster: (any: Any) => Read<Named> = readerOf('clusters', named, (message) => message);
