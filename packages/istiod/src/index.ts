export type { Environment, IstiodKeyType } from './environment.ts';
export type { IstiodSourceOptions } from './options.ts';
export { istiodSource } from './source.ts';
