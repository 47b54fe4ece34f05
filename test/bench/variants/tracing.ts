import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MeshTracer } from '../../../src/index.ts';

/** A collector that takes everything, and a tracer that samples so many percent for it. */
export async function benchTracing(samplingPercent: number): Promise<{ tracing: MeshTracer; close(): void }> {
  const { startOtel } = await import('../../../packages/otel/src/index.ts');
  const collector = createServer((incoming, outgoing) => {
    incoming.resume().on('end', () => void outgoing.writeHead(202).end());
  });
  collector.listen(0, '127.0.0.1');
  await new Promise((resolve) => collector.once('listening', resolve));
  const { port } = collector.address() as AddressInfo;
  const environment = { OTEL_EXPORTER_ZIPKIN_ENDPOINT: `http://127.0.0.1:${port}/api/v2/spans` };
  return {
    tracing: startOtel({ samplingPercent, environment }),
    close() {
      collector.closeAllConnections();
      collector.close();
    },
  };
}
