import { type Any, any } from '../any.ts';
import { int32, string } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';

/** `google.rpc.Status`. */
export interface Status {
  /** Number of a gRPC status. */
  readonly code: number;
  readonly message: string;
  readonly details: readonly Any[];
}

export const statusSchema: Schema<Status> = schema<Status>('google.rpc.Status', {
  fields: { code: single(1, int32), message: single(2, string), details: repeated(3, any) },
});
