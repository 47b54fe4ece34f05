export type { XdsProfile } from './compile/compile.ts';
export type { ServerStatus } from './connection/follow.ts';
export type { ResourceState, ResourceStatus } from './protocol/cache.ts';
export type { ResourceType } from './resources.ts';
export type { Environment } from './setup/node.ts';
export type { NodeOptions, XdsSourceOptions } from './setup/options.ts';
export type { XdsServer, XdsTls } from './setup/server.ts';
export { type XdsSource, xdsSource } from './source.ts';
export type { TypeStatus, XdsStatus } from './status.ts';
