export { meshCredentials } from './client/credentials.ts';
export { type CallingMesh, meshChannel, meshChannelOptions } from './client/mesh-channel.ts';
export { MeshServer } from './server/mesh-server.ts';
