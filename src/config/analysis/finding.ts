import type { Provenance } from '../../model/provenance.ts';
import { describeResource } from '../problem.ts';
import type { ConfigProblem, EnforcementEntry } from '../source.ts';
import { catalogue, type FindingClass, type FindingCode, linkTo, type Severity } from './catalogue.ts';

/** One thing that analysis has to say. */
export interface Finding {
  readonly code: FindingCode;
  /** The name of the code: `ReferencedResourceNotFound`. */
  readonly name: string;
  readonly class: FindingClass;
  readonly severity: Severity;
  readonly message: string;
  /** `VirtualService shop/reviews`; '' when a whole file cannot be read. */
  readonly resource: string;
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  readonly column?: number;
  /** `spec.http[0].route[1].weight`. */
  readonly field?: string;
  /** The offending value as JSON, shortened. */
  readonly value?: string;
  /** Page and section of the documentation. */
  readonly link: string;
}

export interface FindingDetails {
  readonly message: string;
  readonly at?: Provenance;
  readonly field?: string;
  readonly value?: string;
}

export function findingOf(code: FindingCode, { message, at, field, value }: FindingDetails): Finding {
  return {
    code,
    ...catalogue[code],
    message,
    resource: at === undefined ? '' : describeResource(at),
    ...(at?.file === undefined ? {} : { file: at.file }),
    ...(at?.line === undefined ? {} : { line: at.line }),
    ...(at?.column === undefined ? {} : { column: at.column }),
    ...(field === undefined || field === '' ? {} : { field }),
    ...(value === undefined ? {} : { value }),
    link: linkTo(code),
  };
}

/** What checking a resource found; `unreadable` when it did not get so far. */
export function findingOfProblem(problem: ConfigProblem, unreadable = false): Finding {
  if (unreadable) return findingOf('INMESH0001', problem);
  return findingOf(problem.unenforceable === true ? 'INMESH0002' : 'IST0106', problem);
}

/** What the enforcement report says of a field; nothing for what is simply enforced. */
export function findingOfEntry({ at, field, status, note, warning }: EnforcementEntry): Finding | undefined {
  const what = field === '' ? 'the resource' : 'the field';
  // A kind that has no effect here is no mistake of its author.
  const ofKind = status === 'ignored' && field === '';
  if (warning === true && !ofKind)
    return findingOf('INMESH0005', { at, field, message: note ?? 'is probably not what was meant' });
  if (status === 'enforced') return undefined;
  const verb = status === 'ignored' ? 'has no effect' : 'is approximated';
  const message = note === undefined ? `${what} ${verb}` : `${what} ${verb}: ${note}`;
  return findingOf(status === 'ignored' ? 'INMESH0004' : 'INMESH0003', { at, field, message });
}
