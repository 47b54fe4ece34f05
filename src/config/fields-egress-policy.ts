import { operation } from './fields-security.ts';
import { policySelector } from './fields-selector.ts';
import type { KindTable } from './schema.ts';
import { enforced, list, nonEmptyList, object, oneOfValues, required } from './schema.ts';

/** `inmesh.dev` EgressPolicy: what a workload may call. */
export const egressPolicyTable: KindTable = {
  kind: 'EgressPolicy',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  note: 'a kind of inmesh: says what a process may call; annotation `istio.io/dry-run: "true"` only tries it out',
  reference: 'reference/extensions.md#egresspolicy',
  fields: {
    spec: required(
      object({
        selector: policySelector,
        action: enforced(oneOfValues('ALLOW', 'DENY'), 'default ALLOW: what no policy allows is refused'),
        rules: enforced(
          list(object({ to: required(nonEmptyList(object({ operation: required(operation) }))) })),
          'hosts are full names of services, whatever the caller writes, or names outside; absent: ALLOW allows nothing',
        ),
      }),
    ),
  },
};
