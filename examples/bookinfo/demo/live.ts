import { createPaint, wantsColor } from './ansi.ts';
import type { Bookinfo } from './bookinfo.ts';
import { createEventLog, type LogEntry, logEvents } from './event-log.ts';
import { type Row, Rows } from './rows.ts';
import { renderTable } from './table.ts';

/** How the running demo is shown until it is stopped. */
export interface Live {
  stop(): void;
}

export interface LiveOptions {
  readonly bookinfo: Bookinfo;
  /** The file to edit, as the user knows it. */
  readonly editFile: string;
  /** Pages a second that the load generator asks for. */
  readonly rate: number;
  onKey(key: 'kill' | 'quit'): void;
}

/** A table that is drawn again twice a second, on a terminal; lines now and then anywhere else. */
export function showLive(options: LiveOptions): Live {
  return process.stdout.isTTY && process.env['TERM'] !== 'dumb' ? showTable(options) : showLines(options);
}

function showTable({ bookinfo, editFile, rate, onKey }: LiveOptions): Live {
  const { stdout, stdin } = process;
  const paint = createPaint(wantsColor(stdout));
  const rows = new Rows(bookinfo);
  const log = createEventLog();
  logEvents(bookinfo, log, () => rows.configChanged(Date.now()));
  const started = Date.now();

  const draw = (): void => {
    const now = Date.now();
    const lines = renderTable(
      {
        url: bookinfo.url,
        adminUrl: bookinfo.adminUrl,
        editFile,
        upMs: now - started,
        rate,
        load: bookinfo.load,
        rows: rows.next(now),
        events: log.entries,
        width: stdout.columns || 80,
        height: stdout.rows || 24,
      },
      paint,
    );
    // Over the last picture, not after clearing it: no flicker.
    stdout.write(`\x1b[H${lines.join('\x1b[K\r\n')}\x1b[K\x1b[J`);
  };

  const restore = (): void => {
    stdout.write('\x1b[?25h\x1b[?1049l');
  };
  const read = (data: Buffer): void => {
    for (const character of data.toString()) {
      if (character === 'k') onKey('kill');
      if (character === 'q' || character === '\x03' || character === '\x04') onKey('quit');
    }
  };

  // The alternate screen: what was in the terminal is there again afterwards.
  stdout.write('\x1b[?1049h\x1b[?25l\x1b[2J');
  process.once('exit', restore);
  if (stdin.isTTY) stdin.setRawMode(true).on('data', read);
  stdout.on('resize', draw);
  const timer = setInterval(draw, 500);
  draw();
  return {
    stop() {
      clearInterval(timer);
      stdout.off('resize', draw);
      if (stdin.isTTY) stdin.setRawMode(false).off('data', read).pause();
      process.off('exit', restore);
      restore();
    },
  };
}

function showLines({ bookinfo, editFile, rate }: LiveOptions): Live {
  const write = (line: string): void => void process.stdout.write(`${line}\n`);
  const rows = new Rows(bookinfo);
  const log = createEventLog((entry) => write(plainEvent(entry)));
  logEvents(bookinfo, log, () => rows.configChanged(Date.now()));
  write(`page: ${bookinfo.url}`);
  if (bookinfo.adminUrl !== undefined) write(`admin: ${bookinfo.adminUrl} (what the mesh in productpage knows)`);
  write(`edit: ${editFile} (change a weight and save: the split follows)`);
  write(`load: ${rate} pages a second; figures every 5 s; SIGINT or SIGTERM stops everything`);
  let ticks = 0;
  const timer = setInterval(() => {
    const now = rows.next(Date.now());
    if (++ticks % 10 === 0) write(plainRows(now));
  }, 500);
  return { stop: () => clearInterval(timer) };
}

function plainEvent(entry: LogEntry): string {
  return `${new Date(entry.at).toISOString()} ${entry.from.join(',')}: ${entry.text}`;
}

function plainRows(rows: readonly Row[]): string {
  const figures = rows.map((row) => {
    const share = row.share === undefined || row.share === 1 ? '' : ` ${Math.round(row.share * 100)}%`;
    const success = row.success === undefined ? '' : ` ok=${(row.success * 100).toFixed(1)}%`;
    const p99 = Number.isNaN(row.p99Ms) ? '' : ` p99=${row.p99Ms.toFixed(1)}ms`;
    const state = row.running ? (row.openFor.length > 0 ? ' OPEN' : '') : ' DOWN';
    return `${row.service}-${row.version} ${row.perSecond.toFixed(1)}/s${share}${success}${p99}${state}`;
  });
  return `${new Date().toISOString()} ${figures.join(' | ')}`;
}
