// A process of a mesh whose identity comes from SPIRE: serves, and says who called.
// Started as `member.ts <folder of YAML>` with SPIFFE_ENDPOINT_SOCKET; prints its port.
import { workloadApiSource } from '@inmesh/spiffe';
import { createMesh } from 'inmesh';

const mesh = createMesh({
  config: process.argv[2] ?? '',
  workload: { name: 'web', namespace: 'shop', serviceAccount: 'web', trustDomain: 'example.org' },
  identity: workloadApiSource(),
});
await mesh.ready();
const { port } = await mesh.listen(
  (request, response) => {
    response.setHeader('x-not-after', String(mesh.stats().identity?.notAfter));
    response.end(mesh.scopeOf(request)?.peer?.spiffeId ?? 'nobody');
  },
  { host: '127.0.0.1', port: 0 },
);
process.stdout.write(`${port}\n`);
// Ends with the one who started it.
process.stdin.resume().on('end', () => process.exit(0));
