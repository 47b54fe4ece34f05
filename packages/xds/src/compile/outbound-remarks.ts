import type { EnforcementEntry } from 'inmesh/config';
import { kindOf, type ResourceType } from '../resources.ts';

/** What is to be said of one field: it does something near to what it says, or nothing. */
export interface Remark {
  /** Path as in the `.proto` files: `virtual_hosts[0].routes[2].match`. */
  readonly field: string;
  readonly status: 'approximated' | 'ignored';
  readonly note: string;
  /** It is probably not what the author of the configuration wants. */
  readonly warning?: true;
}

/** Collects remarks while one resource is read. */
export interface Remarks {
  readonly all: readonly Remark[];
  /** Does something near to what it says. */
  approximated(field: string, note: string): void;
  /** Does nothing. */
  ignored(field: string, note: string): void;
}

export function createRemarks(): Remarks {
  const all: Remark[] = [];
  return {
    all,
    approximated: (field, note) => void all.push({ field, status: 'approximated', note }),
    ignored: (field, note) => void all.push({ field, status: 'ignored', note }),
  };
}

/** What the report says of one resource: remarks, and the fields that nobody reads. */
export function entriesOf(
  type: ResourceType,
  name: string,
  { ignored, remarks }: { readonly ignored: readonly string[]; readonly remarks: readonly Remark[] },
): readonly EnforcementEntry[] {
  const at = { kind: kindOf(type), namespace: '', name };
  return [
    ...remarks.map(
      ({ field, note, status, warning }): EnforcementEntry => ({
        at,
        field,
        status,
        note,
        ...(warning === undefined ? {} : { warning }),
      }),
    ),
    ...ignored.map((field): EnforcementEntry => ({ at, field, status: 'ignored' })),
  ];
}
