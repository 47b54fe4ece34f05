import { processOutput, run } from './index.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
// A reader that goes away early (`inmesh analyze | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
const surroundings = {
  env: process.env,
  cwd: process.cwd(),
  // Opened only by the command that reads it.
  get stdin(): AsyncIterable<Uint8Array> {
    return process.stdin;
  },
  signal: stop.signal,
};
void run(process.argv.slice(2), processOutput, surroundings).then((code) => {
  process.exitCode = code;
});
