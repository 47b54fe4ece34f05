// `npm start`: brings Bookinfo up and shows it. `npm start -- --check`: brings it up, checks it, ends.
import { parseArgs } from 'node:util';
import { runChecks } from './checks/run.ts';
import { runDemo } from './demo/run.ts';

const usage = `usage: npm start [-- options]

  --check      run unattended: bring everything up, check it over real HTTP, end
  --rate <n>   pages a second that the load generator asks for (default 40, 0: none)
  --port <n>   port of the page (default 9080, or any other when that is taken)
  --help       this text
`;

interface Arguments {
  readonly check: boolean;
  readonly help: boolean;
  readonly rate: number;
  readonly port: number;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      rate: { type: 'string', default: '40' },
      port: { type: 'string', default: '9080' },
    },
  });
  return { ...values, rate: integer('--rate', values.rate, 1_000), port: integer('--port', values.port, 65_535) };
}

function integer(name: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new Error(`${name} must be an integer from 0 to ${max}, got "${text}"`);
  }
  return value;
}

let parsed: Arguments | undefined;
try {
  parsed = readArguments();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  process.exitCode = 2;
}
if (parsed?.help) process.stdout.write(usage);
else if (parsed?.check) process.exitCode = await runChecks();
else if (parsed !== undefined) process.exitCode = await runDemo(parsed);
