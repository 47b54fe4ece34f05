export type { Mesh, MeshOptions } from './mesh.ts';
