import type { Collector } from './collector.ts';
import type { Resource } from './resource.ts';
import type { KindTable } from './schema.ts';

/** Says what Istio's webhook would refuse in a resource whose fields have the right types. */
export type Validator = (resource: Resource, collector: Collector) => void;

/** Kinds without a compiler, and rules of kinds that have one which it does not need itself. */
const validators: Readonly<Record<string, Validator>> = {};

export function validatorOf({ group, kind }: KindTable): Validator | undefined {
  return validators[`${group}/${kind}`];
}
