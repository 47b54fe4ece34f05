export type { SecretNames } from './served.ts';
export { type SdsServer, type ServeSdsOptions, serveSds } from './server.ts';
export { type SdsSourceOptions, sdsSource } from './source.ts';
