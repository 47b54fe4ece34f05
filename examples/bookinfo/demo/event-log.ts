import { basename } from 'node:path';
import type { ConfigProblem } from 'inmesh';
import type { Bookinfo } from './bookinfo.ts';
import type { Message } from './messages.ts';

/** Something that happened, told for people. */
export interface LogEntry {
  readonly at: number;
  readonly tone: 'good' | 'note' | 'bad';
  readonly text: string;
  /** Who reported it; the same thing from several processes is one entry. */
  readonly from: readonly string[];
}

/** Same words from several processes within this time are one event. */
const mergeMs = 2_000;
const keep = 50;

/** The recent events, newest last. */
export interface EventLog {
  readonly entries: readonly LogEntry[];
  add(from: string, tone: LogEntry['tone'], text: string): void;
}

/** Called with each new entry that is not merged into an earlier one. */
export function createEventLog(onEntry: (entry: LogEntry) => void = () => {}): EventLog {
  const entries: LogEntry[] = [];
  return {
    entries,
    add(from, tone, text) {
      const now = Date.now();
      const same = entries.findLastIndex((entry) => entry.text === text && now - entry.at < mergeMs);
      const old = entries[same];
      if (old !== undefined) {
        if (!old.from.includes(from)) entries[same] = { ...old, from: [...old.from, from] };
        return;
      }
      const entry: LogEntry = { at: now, tone, text, from: [from] };
      entries.push(entry);
      entries.splice(0, entries.length - keep);
      onEntry(entry);
    },
  };
}

/** Writes what Bookinfo reports to the log. `onConfig` is told when a new configuration is in force. */
export function logEvents(bookinfo: Bookinfo, log: EventLog, onConfig: () => void): void {
  bookinfo.on('crash', (name, reason) => log.add(name, 'bad', `process ended (${reason})`));
  bookinfo.on('message', (from, message) => {
    if (message.kind === 'config') onConfig();
    const told = tellEvent(message, bookinfo);
    if (told !== undefined) log.add(from, told.tone, told.text);
  });
}

function tellEvent(message: Message, bookinfo: Bookinfo): Pick<LogEntry, 'tone' | 'text'> | undefined {
  const shown = (file: string): string => bookinfo.folder.shown(file);
  switch (message.kind) {
    case 'config':
      if (bookinfo.justRegistered()) return { tone: 'note', text: 'new registrations in force' };
      return { tone: 'good', text: 'new configuration in force' };
    case 'config-rejected':
      return { tone: 'bad', text: `refused, the last good stays: ${describe(message.problems[0], shown)}` };
    case 'certificate':
      return { tone: 'good', text: `certificate renewed, good for ${Math.ceil(message.validForMs / 1_000)} s` };
    case 'endpoint':
      return message.healthy
        ? { tone: 'good', text: `circuit to ${message.workload} closed: trying it again` }
        : { tone: 'bad', text: `circuit to ${message.workload} opened: it failed too often` };
    default:
      return undefined;
  }
}

/** `traffic.yaml:22:19 spec.http[1].route[0].weight: must be …, got "ninety"`. */
export function describe(problem: ConfigProblem | undefined, shown: (file: string) => string = basename): string {
  if (problem === undefined) return 'no reason given';
  const { at, field, value, message } = problem;
  const place = at?.file === undefined ? '' : `${shown(at.file)}:${at.line ?? 1}:${at.column ?? 1} `;
  return `${place}${field === undefined ? '' : `${field}: `}${message}${value === undefined ? '' : `, got ${value}`}`;
}
