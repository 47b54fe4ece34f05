import './lib/require-node.ts';

export type { Mesh, MeshOptions } from './mesh.ts';
