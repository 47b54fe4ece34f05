import { startOtel } from '@inmesh/otel';
import { trace } from '@opentelemetry/api';
import { createMesh } from 'inmesh';

const mesh = createMesh({
  config: process.env['INMESH_CONFIG'] ?? `${import.meta.dirname}/mesh`,
  identity: false,
  workload: { name: 'stock', namespace: 'shop' },
  tracing: startOtel(),
  closeOn: ['SIGINT', 'SIGTERM'],
});

let asked = 0;
const server = await mesh.listen(
  (_request, response) => {
    // A span of the application: it is below that of the mesh.
    trace.getTracer('stock').startActiveSpan('look it up', (span) => {
      asked++;
      response.writeHead(asked % 2 === 1 ? 503 : 200).end('7 left\n');
      span.end();
    });
  },
  { port: Number(process.env['PORT'] ?? 4102), host: '127.0.0.1' },
);
process.stdout.write(`stock listens on port ${server.port}\n`);
