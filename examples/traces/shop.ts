import { startOtel } from '@inmesh/otel';
import { createMesh } from 'inmesh';

const mesh = createMesh({
  config: process.env['INMESH_CONFIG'] ?? `${import.meta.dirname}/mesh`,
  identity: false,
  workload: { name: 'shop', namespace: 'shop' },
  tracing: startOtel(),
});
await mesh.ready();
const reply = await mesh.fetch('http://orders/');
process.stdout.write(`${reply.status} ${await reply.text()}`);
await mesh.close(); // what waits is sent
