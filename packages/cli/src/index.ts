export type { Surroundings } from './load.ts';
export { type Output, processOutput } from './output.ts';
export { run } from './run.ts';
