import { parseArgs } from 'node:util';

/** What `npm run bench -- …` was asked for. */
export interface BenchOptions {
  readonly rounds: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly concurrencies: readonly number[];
  /** Calls a second, steadily and without waiting for answers, instead of {@link concurrencies}. */
  readonly rate?: number;
  /** Part of a variant's name; bases of what it selects run, too. */
  readonly only: string;
  /** Where the JSON goes. */
  readonly json: string;
}

export const usage = `npm run bench -- [options]
  --quick            short rounds: for a first look, not for figures to publish
  --rounds <n>       rounds of each variant (default 5)
  --duration <ms>    measured time of a round (default 1000, with --quick 300)
  --concurrency <n>  calls at a time; may be repeated (default 50 and 1)
  --rate <n>         calls a second at a steady rate, whether answers come or not, instead:
                     for latencies below full load; outbound only
  --only <text>      variants with this in their name, and what they are compared with
  --json <file>      where the figures go (default .cache/bench.json)
`;

/** @throws Error for an unknown option or a number that is none. */
export function parseOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean', short: 'h' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      duration: { type: 'string' },
      concurrency: { type: 'string', multiple: true, default: ['50', '1'] },
      rate: { type: 'string' },
      only: { type: 'string', default: '' },
      json: { type: 'string', default: '.cache/bench.json' },
    },
  });
  if (values.help === true) return 'help';
  const count = (name: string, text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: must be a whole number from 1, got ${text}`);
    return value;
  };
  const durationMs = count('duration', values.duration ?? (values.quick ? '300' : '1000'));
  return {
    rounds: count('rounds', values.rounds ?? '5'),
    durationMs,
    // Long enough for connections and for code that was cold since this variant's last round.
    warmUpMs: Math.round(durationMs / 4),
    concurrencies: values.concurrency.map((text) => count('concurrency', text)),
    ...(values.rate === undefined ? {} : { rate: count('rate', values.rate) }),
    only: values.only,
    json: values.json,
  };
}
