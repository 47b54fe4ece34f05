import { systemClock } from '../../../src/lib/clock.ts';
import { type RecordedSpan, type RecordingTracer, recordingTracer } from '../../support/recording-tracer.ts';
import { type Attack, readFixture } from './catalogue.ts';
import type { Layer, Outcome, Script } from './layers.ts';
import { send } from './send.ts';

/** Everything that is written about requests: access logs and spans, of whatever server serves just now. */
const lines: string[] = [];
const tracers: RecordingTracer[] = [];

function newTracer(): RecordingTracer {
  const tracer = recordingTracer({ samplingPercent: 100 });
  tracers.push(tracer);
  return tracer;
}

const allSpans = (): readonly RecordedSpan[] => tracers.flatMap(({ spans }) => spans);

/** What ends a record, or what a terminal obeys. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is its purpose.
const obeyed = /[\u0000-\u001F\u007F-\u009F\u2028\u2029]/;

/** Parts of the token, and the id of the trace, that the cases of the fixture send. */
const token = /eyJhbGciOiJub25lIn0|c2VjcmV0/;
const foreignTrace = '0af7651916cd43dd8448eb211c80319c';

/** What is wrong with the records of one request; nothing when they are as they should be. */
function wrongWith(records: readonly string[], spans: readonly RecordedSpan[]): string | undefined {
  for (const record of records) {
    const text = record.endsWith('\n') ? record.slice(0, -1) : record;
    if (obeyed.test(text)) return `a record has a control character: ${JSON.stringify(text)}`;
    if (token.test(text)) return 'a record has the token';
    const read: unknown = JSON.parse(text);
    if (typeof read !== 'object' || read === null || Array.isArray(read)) return `a record is ${text}`;
  }
  const told = JSON.stringify(spans);
  if (token.test(told)) return 'a span has the token';
  if (/\?|access_token/.test(spans.map(({ attributes }) => attributes['url.path'] ?? '').join()))
    return 'a span has the query';
  return undefined;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => systemClock.after(ms, resolve, true));

/** Sends the request and looks at all that was written about it. */
const observed =
  (further: (spans: readonly RecordedSpan[]) => string | undefined = () => undefined): Script =>
  async (target, input): Promise<Outcome> => {
    const known = lines.length;
    const before = new Set(allSpans());
    const outcome = await send({ input } as Attack, target);
    const ended = (): readonly RecordedSpan[] => allSpans().filter((span) => !before.has(span));
    // What breaks the rules of HTTP is no request, and has no record.
    const refused = [undefined, 400, 431].includes(outcome.status);
    const complete = (): boolean => refused || (lines.length > known && ended().length > 0);
    // They are written when the answer has gone out, which is about when it arrives.
    for (let i = 0; i < 4_000 && !complete(); i++) await pause(5);
    if (!complete()) return { ...outcome, problem: `${lines.length - known} records, ${ended().length} spans` };
    const spans = ended();
    const problem = wrongWith(lines.slice(known), spans) ?? further(spans);
    return problem === undefined ? { ...outcome, sanitised: true } : { ...outcome, problem };
  };

const newTrace = (spans: readonly RecordedSpan[]): string | undefined =>
  spans.some(({ context, parent }) => parent !== undefined || context.traceId === foreignTrace)
    ? 'the trace goes on'
    : undefined;

const withoutState = (spans: readonly RecordedSpan[]): string | undefined => {
  if (spans.some(({ context }) => context.traceId !== foreignTrace)) return 'the trace does not go on';
  return spans.some(({ parent }) => (parent?.traceState ?? '') !== '') ? 'tracestate was taken' : undefined;
};

const checks: Readonly<Record<string, Script>> = {
  'OBS-006': observed(newTrace),
  'OBS-007': observed(newTrace),
  'OBS-008': observed(withoutState),
};

const ids = (readFixture('obs').cases ?? []).map(({ id }) => id);

/** The layer OBS, with access logs and tracing on: what is written about hostile requests. */
export const obsLayer: Layer = {
  name: 'obs',
  mesh: () => ({
    accessLog: { to: (line: string) => void lines.push(line), encoding: 'json' },
    tracing: newTracer(),
  }),
  scripts: Object.fromEntries(ids.map((id) => [id, checks[id] ?? observed()])),
};
