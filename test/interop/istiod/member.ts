// A process of a mesh whose identity comes from istiod, by nothing but the variables of a pod: serves, and says
// who called. Started as `member.ts <folder of YAML> <root file> <token file>`; prints its port.
import { istiodSource } from '@inmesh/istiod';
import { createMesh } from 'inmesh';

const [, , config = '', trustRoot = '', tokenFile = ''] = process.argv;
const mesh = createMesh({
  config,
  workload: { name: 'cart', namespace: 'shop', serviceAccount: 'cart' },
  identity: istiodSource({ trustRoot, tokenFile, serverName: 'istiod.istio-system.svc' }),
});
await mesh.ready();
const { port } = await mesh.listen(
  (request, response) => void response.end(mesh.scopeOf(request)?.peer?.spiffeId ?? 'nobody'),
  { host: '127.0.0.1', port: 0 },
);
process.stdout.write(`${port}\n`);
// Ends with the one who started it.
process.stdin.resume().on('end', () => process.exit(0));
