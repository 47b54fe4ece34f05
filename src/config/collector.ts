import type { Provenance } from '../model/provenance.ts';
import type { ConfigDocument, Path } from './document.ts';
import { formatPath } from './document.ts';
import { showValue } from './problem.ts';
import type { ConfigProblem, EnforcementEntry } from './source.ts';

/** A resource, or as much of it as a message needs. */
export interface Subject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly document: ConfigDocument;
  /** Where the resource begins in its document: not empty inside a `List`. */
  readonly base: Path;
}

/** Collects what a compilation has to say. One per compilation. */
export interface Collector {
  readonly problems: ConfigProblem[];
  /** The report so far. */
  entries(): readonly EnforcementEntry[];
  /** The configuration is refused. `value` present: the message goes on with what was there. */
  problem(subject: Subject, path: Path, message: string, ...value: readonly unknown[]): void;
  /** As `problem`, for what Istio accepts and inmesh must not: it could not enforce it. */
  refuse(subject: Subject, path: Path, message: string, ...value: readonly unknown[]): void;
  /** How many problems so far make the configuration invalid, also for Istio. */
  countInvalid(): number;
  /** As `problem`, placed at the key instead of the value. */
  problemAtKey(subject: Subject, path: Path, message: string, value: unknown): void;
  entry(subject: Subject, path: Path, status: EnforcementEntry['status'], note?: string): void;
  /** Accepted, but the author should know. */
  warn(subject: Subject, path: Path, status: EnforcementEntry['status'], note: string): void;
  /** Takes back what was said to be enforced: the resource turned out not to apply at all. */
  retract(subject: Subject): void;
  /** What `say` has to say belongs here, and is asked for only if somebody reads the report. */
  later(say: (collector: Collector) => void): void;
  at(subject: Subject, path: Path, key?: boolean): Provenance;
  /** Where the report is just now. */
  mark(): number;
  /** What was said since then, problems apart. */
  since(mark: number): readonly Note[];
  /** Says again what was said by the same step of an earlier compilation. */
  repeat(notes: readonly Note[]): void;
}

/** An entry of the report before its place is known. */
type Remark = Omit<EnforcementEntry, 'at' | 'field'> & { readonly subject: Subject; readonly path: Path };

/** A part of the report. */
export type Note =
  | Remark
  | { readonly retracted: Subject }
  | { readonly say: (collector: Collector) => void }
  | { readonly notes: readonly Note[] };

const nothing: readonly Note[] = [];

export function createCollector(): Collector {
  const problems: ConfigProblem[] = [];
  // Most reports are never read, so places are worked out only when one is.
  const notes: Note[] = [];
  const at = (subject: Subject, path: Path, key = false): Provenance => {
    const { kind, namespace, name, document, base } = subject;
    const place = document.locate(base.length === 0 ? path : [...base, ...path], key);
    return {
      kind,
      namespace,
      name,
      ...(document.file === undefined ? {} : { file: document.file }),
      ...(place === undefined ? {} : place),
    };
  };
  let invalid = 0;
  const add = (
    subject: Subject,
    path: Path,
    message: string,
    value: readonly unknown[],
    more: Pick<ConfigProblem, 'unenforceable'>,
  ): void => {
    const field = formatPath(path);
    if (more.unenforceable !== true) invalid++;
    problems.push({
      message,
      at: at(subject, path),
      ...(field === '' ? {} : { field }),
      ...(value.length === 0 ? {} : { value: showValue(value[0]) }),
      ...more,
    });
  };
  return {
    problems,
    countInvalid: () => invalid,
    entries() {
      const remarks: Remark[] = [];
      const retracted = new Set<string>();
      spread(notes, remarks, retracted);
      return remarks
        .filter(({ subject, status }) => status !== 'enforced' || !retracted.has(idOf(subject)))
        .map(({ subject, path, status, ...more }) => ({
          at: at(subject, path, true),
          field: formatPath(path),
          status,
          ...more,
        }));
    },
    at,
    mark: () => notes.length,
    since: (mark) => (mark === notes.length ? nothing : notes.slice(mark)),
    repeat(again) {
      const [first] = again;
      if (first !== undefined) notes.push(again.length === 1 ? first : { notes: again });
    },
    later: (say) => void notes.push({ say }),
    problem: (subject, path, message, ...value) => add(subject, path, message, value, {}),
    refuse: (subject, path, message, ...value) => add(subject, path, message, value, { unenforceable: true }),
    problemAtKey(subject, path, message, value) {
      invalid++;
      problems.push({ message, at: at(subject, path, true), field: formatPath(path), value: showValue(value) });
    },
    entry: (subject, path, status, note) =>
      void notes.push({ subject, path, status, ...(note === undefined ? {} : { note }) }),
    warn: (subject, path, status, note) => void notes.push({ subject, path, status, note, warning: true }),
    retract: (subject) => void notes.push({ retracted: subject }),
  };
}

/** All remarks in the order in which they were made, and what was taken back. */
function spread(notes: readonly Note[], remarks: Remark[], retracted: Set<string>): void {
  for (const note of notes) {
    if ('subject' in note) remarks.push(note);
    else if ('notes' in note) spread(note.notes, remarks, retracted);
    else if ('retracted' in note) retracted.add(idOf(note.retracted));
    else {
      const collector = createCollector();
      note.say(collector);
      spread(collector.since(0), remarks, retracted);
    }
  }
}

function idOf({ kind, namespace, name }: Subject): string {
  return `${kind} ${namespace}/${name}`;
}

function wordsOf({ status, warning }: Remark): string {
  return warning === true ? `warn ${status}` : status;
}

/** A collector that passes on what it has not said before, for steps that are done several times. */
export function sayOnce(collector: Collector): Collector {
  const said = new Set<string>();
  const isNew = (what: string, subject: Subject, path: Path, text = ''): boolean => {
    const key = `${what} ${idOf(subject)} ${formatPath(path)} ${text}`;
    if (said.has(key)) return false;
    said.add(key);
    return true;
  };
  return {
    ...collector,
    problem(subject, path, message, ...value) {
      if (isNew('problem', subject, path, message)) collector.problem(subject, path, message, ...value);
    },
    refuse(subject, path, message, ...value) {
      if (isNew('refuse', subject, path, message)) collector.refuse(subject, path, message, ...value);
    },
    problemAtKey(subject, path, message, value) {
      if (isNew('problem', subject, path, message)) collector.problemAtKey(subject, path, message, value);
    },
    entry(subject, path, status, note) {
      if (isNew(status, subject, path, note)) collector.entry(subject, path, status, note);
    },
    warn(subject, path, status, note) {
      if (isNew(`warn ${status}`, subject, path, note)) collector.warn(subject, path, status, note);
    },
    repeat(notes) {
      for (const note of notes) {
        if ('notes' in note) this.repeat(note.notes);
        else if (!('subject' in note) || isNew(wordsOf(note), note.subject, note.path, note.note))
          collector.repeat([note]);
      }
    },
  };
}
