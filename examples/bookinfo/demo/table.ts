import { fit, type Paint, pad } from './ansi.ts';
import type { LogEntry } from './event-log.ts';
import type { LoadFigures } from './messages.ts';
import type { Row } from './rows.ts';

/** Everything that one picture of the terminal shows. */
export interface Picture {
  readonly url: string;
  /** Of the mesh in productpage. */
  readonly adminUrl?: string | undefined;
  readonly editFile: string;
  readonly upMs: number;
  readonly rate: number;
  readonly load: LoadFigures | undefined;
  readonly rows: readonly Row[];
  readonly events: readonly LogEntry[];
  /** The lines of the terminal. */
  readonly width: number;
  readonly height: number;
}

interface Column {
  readonly title: string;
  readonly width: number;
  readonly align?: 'right';
  cell(row: Row, paint: Paint): string;
}

/** The lines of the picture, at most `height` of them and none longer than `width`. */
export function renderTable(picture: Picture, paint: Paint): string[] {
  const columns = columnsFor(picture.width);
  const lines = [
    '',
    ...header(picture, paint),
    '',
    ` ${columns.map((column) => paint.dim(pad(column.title, column.width, column.align))).join('  ')}`,
    ...tableLines(picture.rows, columns, paint),
    '',
  ];
  const room = Math.max(picture.height - lines.length - 3, 0);
  const events = picture.events.flatMap((entry) => eventLines(entry, picture, paint)).slice(-room);
  lines.push(` ${paint.dim('EVENTS')}`, ...(events.length > 0 ? events : [` ${paint.dim('none yet')}`]));
  while (lines.length < picture.height - 1) lines.push('');
  lines.splice(Math.max(picture.height - 1, 0));
  lines.push(keys(picture, paint));
  return lines.map((line) => fit(line, picture.width));
}

function header(picture: Picture, paint: Paint): string[] {
  const load = picture.load ?? { pages: 0, incomplete: 0, failed: 0 };
  const figures = [
    `${picture.rate} pages/s`,
    `${(load.pages + load.incomplete).toLocaleString('en')} answered`,
    (load.incomplete === 0 ? String : paint.note)(`${load.incomplete.toLocaleString('en')} with a part missing`),
    (load.failed === 0 ? String : paint.bad)(`${load.failed.toLocaleString('en')} failed`),
  ];
  return [
    ` ${paint.bold('Bookinfo on inmesh')}  ${paint.dim(`up ${duration(picture.upMs)}`)}`,
    '',
    ` ${paint.dim('look at ')} ${paint.link(picture.url)}`,
    ...(picture.adminUrl === undefined
      ? []
      : [
          ` ${paint.dim('admin   ')} ${paint.link(picture.adminUrl)}  ${paint.dim('what the mesh in productpage knows')}`,
        ]),
    ` ${paint.dim('edit    ')} ${paint.link(picture.editFile)}  ${paint.dim('change a weight and save: the split follows')}`,
    ` ${paint.dim('load    ')} ${figures.join(paint.dim(' · '))}`,
  ];
}

function keys(picture: Picture, paint: Paint): string {
  const down = picture.rows.some((row) => row.service === 'ratings' && !row.running);
  const key = (name: string, what: string): string => `${paint.bold(name)} ${paint.dim(what)}`;
  return ` ${key('k', down ? 'start ratings again' : 'kill ratings')}   ${key('q', 'quit')}`;
}

/** `1 m 05 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(Math.round(ms / 1_000), 0);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`;
}

function tableLines(rows: readonly Row[], columns: readonly Column[], paint: Paint): string[] {
  return rows.map((row, i) => {
    // A service with several versions shows its name once.
    const shown = rows[i - 1]?.service === row.service ? { ...row, service: '' } : row;
    return ` ${columns.map((column) => pad(column.cell(shown, paint), column.width, column.align)).join('  ')}`;
  });
}

function columnsFor(width: number): Column[] {
  const wide = width >= 116;
  const bar = wide ? 14 : Math.min(Math.max(width - 76, 4), 14);
  return [
    { title: 'SERVICE', width: 11, cell: (row, paint) => paint.bold(row.service) },
    { title: 'VER', width: 3, cell: (row) => row.version },
    { title: 'REQ/S', width: 5, align: 'right', cell: (row) => row.perSecond.toFixed(1) },
    { title: 'SHARE', width: bar + 5, cell: (row, paint) => share(row, bar, paint) },
    { title: 'SUCCESS', width: 7, align: 'right', cell: success },
    { title: 'P50', width: wide ? 7 : 6, align: 'right', cell: (row) => milliseconds(row.p50Ms) },
    { title: 'P99', width: wide ? 7 : 6, align: 'right', cell: (row) => milliseconds(row.p99Ms) },
    { title: wide ? 'CERTIFICATE' : 'CERT', width: wide ? 24 : 8, cell: (row, paint) => certificate(row, wide, paint) },
    { title: 'CIRCUIT', width: wide ? 16 : 6, cell: (row, paint) => circuit(row, wide, paint) },
  ];
}

function share(row: Row, width: number, paint: Paint): string {
  if (row.share === undefined) return paint.dim('–');
  const eighths = Math.round(row.share * width * 8);
  const blocks = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
  const bar = '█'.repeat(Math.floor(eighths / 8)) + (blocks[eighths % 8] as string);
  const percent = `${Math.round(row.share * 100)}%`;
  return `${paint.link(pad(bar, width))} ${pad(percent, 4, 'right')}`;
}

function success(row: Row, paint: Paint): string {
  if (row.success === undefined) return paint.dim('–');
  const text = row.success === 1 ? '100 %' : `${Math.min(row.success * 100, 99.9).toFixed(1)} %`;
  return (row.success === 1 ? paint.good : row.success > 0.95 ? paint.note : paint.bad)(text);
}

function milliseconds(ms: number): string {
  if (Number.isNaN(ms)) return '–';
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

function certificate(row: Row, wide: boolean, paint: Paint): string {
  if (!row.running || row.certificate === undefined) return paint.bad('down');
  const age = Math.round(row.certificate.ageMs / 1_000);
  const left = Math.round(row.certificate.leftMs / 1_000);
  // inmesh renews at the latest when half of the life is over.
  const due = Math.round((left - age) / 2);
  const tone = due >= 0 ? String : paint.note;
  if (!wide) return tone(`${age}s/${age + left}s`);
  return tone(`${pad(`${age} s`, 5, 'right')} old, ${due >= 0 ? `new in ≤ ${due} s` : `${left} s left`}`);
}

function circuit(row: Row, wide: boolean, paint: Paint): string {
  if (row.openFor.length === 0) return paint.good('closed');
  return paint.bad(wide ? `OPEN for ${row.openFor.map((name) => name.replace(/^reviews-/, '')).join(', ')}` : 'OPEN');
}

function eventLines(entry: LogEntry, { rows, width }: Picture, paint: Paint): string[] {
  const time = new Date(entry.at).toTimeString().slice(0, 8);
  const [first = '', ...others] = entry.from;
  const from =
    others.length === 0 ? first : entry.from.length >= rows.length ? 'all services' : `${first} +${others.length}`;
  const text = wrap(entry.text, Math.max(width - 32, 20), 3);
  return text.map((line, i) =>
    i === 0 ? ` ${paint.dim(time)}  ${paint[entry.tone]('●')} ${pad(from, 17)} ${line}` : `${' '.repeat(31)}${line}`,
  );
}

/** Breaks between words, into at most `max` lines; the last one may be too long. */
function wrap(text: string, width: number, max: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.length <= max ? lines : [...lines.slice(0, max - 1), lines.slice(max - 1).join(' ')];
}
