import type { Results, RunFigures } from './results.ts';

const width = 960;
const rowHeight = 30;
const top = 92;
const labelWidth = 190;
const left = { from: labelWidth + 10, to: 640 };
const right = { from: 700, to: 900 };
/** Latencies from 5 ms to 1.2 s, each tenfold step as wide as the others. */
const axis = { from: Math.log(5), to: Math.log(1_200) };
const ticks: readonly number[] = [5, 10, 20, 50, 100, 200, 500, 1_000];

/** Marks differ in shape as well as in colour, which are those of Okabe and Ito. */
const marks = [
  { name: 'p50', color: '#56b4e9', of: (run: RunFigures) => run.p50Ms },
  { name: 'p99', color: '#e69f00', of: (run: RunFigures) => run.p99Ms },
  { name: 'p99.9', color: '#d55e00', of: (run: RunFigures) => run.p999Ms },
] as const;

/** The chart of the documentation: latencies of the fleet, and how unevenly it is loaded. */
export function chartOf({ fleet, clients, servers }: Results): string {
  const height = top + fleet.length * rowHeight + 46;
  const most = Math.max(2, ...fleet.map(({ peakToMean }) => peakToMean));
  const bottom = top + fleet.length * rowHeight;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="t d">`,
    `<title id="t">Latency and load by balancer, ${count(clients)} clients and ${count(servers)} servers</title>`,
    `<desc id="d">${describe(fleet)}</desc>`,
    '<style>text{font:13px system-ui,sans-serif;fill:#57606a}.h{font-weight:600;font-size:15px;fill:#24292f}.l{fill:#24292f}.g{stroke:#8c959f;stroke-opacity:.3}.r{stroke:#8c959f;stroke-width:2}.b{fill:#0072b2}@media(prefers-color-scheme:dark){text{fill:#9ea7b3}.h,.l{fill:#e6edf3}.b{fill:#4ba3d8}}</style>',
    `<text class="h" x="10" y="24">Latency of all requests (logarithmic)</text>`,
    `<text class="h" x="${right.from}" y="24">Busiest server, × mean</text>`,
    ...legend(),
    ...ticks.flatMap((ms) => [
      line('g', x(ms), top - 14, x(ms), bottom),
      text(x(ms), bottom + 20, ms >= 1_000 ? `${ms / 1_000} s` : `${ms} ms`, 'middle'),
    ]),
    ...fleet.flatMap((run, i) => row(run, top + i * rowHeight + rowHeight / 2, most)),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function row(run: RunFigures, y: number, most: number): readonly string[] {
  const all = run.subsetSize === undefined;
  const bar = ((right.to - right.from) * run.peakToMean) / most;
  return [
    ...(all ? [text(10, y + 4, run.policy, 'start', 'l')] : []),
    text(labelWidth, y + 4, all ? 'all' : `${run.subsetSize} each`, 'end'),
    line('r', x(run.p50Ms), y, x(run.p999Ms), y),
    ...marks.map(({ name, color, of }) => mark(name, color, x(of(run)), y)),
    `<rect class="b" x="${right.from}" y="${y - 7}" width="${round(bar)}" height="14" rx="2"/>`,
    text(right.from + round(bar) + 6, y + 4, String(run.peakToMean), 'start', 'l'),
  ];
}

function legend(): readonly string[] {
  return marks.flatMap(({ name, color }, i) => [
    mark(name, color, left.from + i * 80, 52),
    text(left.from + i * 80 + 12, 56, name, 'start'),
  ]);
}

function mark(name: (typeof marks)[number]['name'], color: string, at: number, y: number): string {
  if (name === 'p50') return `<circle cx="${at}" cy="${y}" r="6" fill="${color}"/>`;
  if (name === 'p99') return `<path d="M${at} ${y - 7}l7 7-7 7-7-7z" fill="${color}"/>`;
  return `<rect x="${round(at - 5.5)}" y="${y - 5.5}" width="11" height="11" fill="${color}"/>`;
}

function text(at: number, y: number, words: string, anchor: string, kind?: string): string {
  return `<text${kind === undefined ? '' : ` class="${kind}"`} x="${at}" y="${y}" text-anchor="${anchor}">${words}</text>`;
}

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
}

/** Place of a latency on the axis. */
function x(ms: number): number {
  const share = (Math.log(ms) - axis.from) / (axis.to - axis.from);
  return round(left.from + Math.min(1, Math.max(0, share)) * (left.to - left.from));
}

/** For who cannot see it. */
function describe(fleet: readonly RunFigures[]): string {
  return fleet
    .map(({ policy, subsetSize, p50Ms, p99Ms, p999Ms, peakToMean }) => {
      const endpoints = subsetSize === undefined ? 'all endpoints' : `${subsetSize} endpoints each`;
      return `${policy}, ${endpoints}: ${p50Ms}, ${p99Ms} and ${p999Ms} ms, ${peakToMean} times the mean.`;
    })
    .join(' ');
}

function round(value: number): number {
  return Number(value.toFixed(1));
}

function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}
