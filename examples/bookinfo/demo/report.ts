import type { Mesh, MeshServer } from 'inmesh';
import { endWithLauncher, tell } from './messages.ts';

/**
 * Tells the launcher what this process does, for the table in the terminal. The services would do
 * the same without this call; it is the only line in them that belongs to the demo.
 */
export function report(mesh: Mesh, server: MeshServer): void {
  if (process.send === undefined) {
    process.stdout.write(`${mesh.workload.name} listens on ${server.host}:${server.port}\n`);
    return;
  }
  endWithLauncher();
  mesh.on('config', ({ version }) => tell({ kind: 'config', version }));
  mesh.on('config-rejected', ({ problems }) => tell({ kind: 'config-rejected', problems }));
  mesh.on('identity', ({ generation, notAfter }) =>
    tell({ kind: 'certificate', generation, validForMs: notAfter - Date.now() }),
  );
  mesh.on('endpoint', ({ workload, address, healthy }) => tell({ kind: 'endpoint', workload, address, healthy }));
  setInterval(() => tell({ kind: 'stats', stats: mesh.stats() }), 500).unref();
  tell({ kind: 'stats', stats: mesh.stats() });
  tell({ kind: 'ready', port: server.port });
}
