import { startOtel } from '@inmesh/otel';
import { createMesh } from 'inmesh';

const mesh = createMesh({
  config: process.env['INMESH_CONFIG'] ?? `${import.meta.dirname}/mesh`,
  identity: false,
  workload: { name: 'orders', namespace: 'shop' },
  tracing: startOtel(),
  closeOn: ['SIGINT', 'SIGTERM'],
});

const server = await mesh.listen(
  async (_request, response) => {
    const reply = await mesh.fetch('http://stock/items/7'); // asked again by the mesh when it fails
    response.writeHead(reply.status).end(await reply.text());
  },
  { port: Number(process.env['PORT'] ?? 4101), host: '127.0.0.1' },
);
process.stdout.write(`orders listens on port ${server.port}\n`);
