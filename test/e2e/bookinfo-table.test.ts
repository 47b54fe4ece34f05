import t from 'tap';
import { createPaint, fit, widthOf } from '../../examples/bookinfo/demo/ansi.ts';
import { createEventLog } from '../../examples/bookinfo/demo/event-log.ts';
import type { Row } from '../../examples/bookinfo/demo/rows.ts';
import { duration, type Picture, renderTable } from '../../examples/bookinfo/demo/table.ts';

const row: Row = {
  service: 'reviews',
  version: 'v1',
  running: true,
  perSecond: 36,
  share: 0.9,
  success: 1,
  p50Ms: 3.2,
  p99Ms: 1_234,
  certificate: { ageMs: 12_000, leftMs: 78_000, generation: 2 },
  openFor: [],
};

const picture: Picture = {
  url: 'http://127.0.0.1:9080/productpage',
  editFile: 'examples/bookinfo/mesh/traffic.yaml',
  upMs: 65_000,
  rate: 40,
  load: { pages: 1_200, incomplete: 3, failed: 1 },
  rows: [
    row,
    { ...row, version: 'v2', perSecond: 0, share: undefined, success: undefined, p50Ms: Number.NaN, p99Ms: Number.NaN },
    { ...row, service: 'ratings', running: false, success: 0.03, certificate: undefined, openFor: ['reviews-v3'] },
  ],
  events: [{ at: 0, tone: 'bad', text: 'refused, the last good stays: '.repeat(9), from: ['a', 'b'] }],
  width: 120,
  height: 30,
};

t.test('no line is wider than the terminal, and there are never too many', async (t) => {
  for (const width of [20, 60, 80, 100, 116, 200]) {
    for (const height of [5, 12, 24, 60]) {
      const lines = renderTable({ ...picture, width, height }, createPaint(true));
      t.ok(lines.length <= height, `${width}x${height}: ${lines.length} lines`);
      t.notOk(lines.find((line) => widthOf(line) > width));
    }
  }
});

t.test('the table tells what a reader wants to know', async (t) => {
  const text = renderTable(picture, createPaint(false)).join('\n');
  t.match(text, 'up 1 m 05 s');
  t.match(text, '1,203 answered');
  t.match(text, '3 with a part missing');
  t.match(text, /reviews +v1 +36\.0 +█+[▉-▏] +90% +100 % +3\.2 ms +1\.2 s +12 s old, new in ≤ 33 s +closed/);
  t.match(text, /\n +v2 +0\.0 +–/, 'a service with several versions shows its name once');
  t.match(text, /ratings .* 3\.0 % .* down +OPEN for v3/);
  t.match(text, 'k start ratings again');
});

t.test('text is cut by columns, colour sequences are not counted', async (t) => {
  const paint = createPaint(true);
  t.equal(widthOf(paint.bold('four')), 4);
  t.equal(widthOf(fit(paint.good('a long text'), 6)), 6);
  t.match(fit(paint.good('a long text'), 6), /…$/);
  t.equal(fit('short', 10), 'short');
  t.equal(createPaint(false).bad('x'), 'x');
});

t.test('the same event from several processes is one entry', async (t) => {
  const seen: string[] = [];
  const log = createEventLog((entry) => seen.push(entry.text));
  log.add('a', 'good', 'new configuration in force');
  log.add('b', 'good', 'new configuration in force');
  log.add('b', 'bad', 'something else');
  t.same(seen, ['new configuration in force', 'something else']);
  t.same(
    log.entries.map(({ from }) => from),
    [['a', 'b'], ['b']],
  );
});

t.test('durations are short', async (t) => {
  t.equal(duration(0), '0 s');
  t.equal(duration(59_400), '59 s');
  t.equal(duration(600_000), '10 m 00 s');
  t.equal(duration(3_720_000), '1 h 02 m');
});
