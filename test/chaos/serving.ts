import type { RequestListener } from 'node:http';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import type { Lab } from './lab.ts';
import { caller } from './resources.ts';

/** A workload of namespace `shop` that serves, without an identity; closed at the end of the case. */
export async function serving(
  lab: Lab,
  name: string,
  handler: RequestListener,
  resources: readonly object[] = [],
  options: MeshOptions = {},
): Promise<{ readonly port: number; readonly mesh: Mesh }> {
  const workload = { ...caller, name, serviceAccount: name, labels: { app: name } };
  const mesh = createMesh({
    workload,
    identity: false,
    config: staticSource(resources, { workload }),
    logger: recordingLogger(),
    drainGraceMs: 100,
    ...options,
  });
  lab.teardown(() => mesh.close());
  return { mesh, port: (await mesh.listen(handler, { host: '127.0.0.1' })).port };
}
