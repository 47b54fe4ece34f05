import type { Dispatcher } from 'undici';
import type { EndpointHooks } from '../../src/runtime/endpoint.ts';
import { createMetrics, type Series } from '../../src/telemetry/metrics.ts';

/** A series that nobody reads. */
export function anySeries(): Series {
  return createMetrics().series({
    reporter: 'source',
    sourceWorkload: '',
    sourcePrincipal: '',
    destinationService: '',
    destinationWorkload: '',
    destinationVersion: '',
  });
}

/** Endpoints whose connections do nothing. */
export function idleHooks(): EndpointHooks {
  const series = anySeries();
  return { open: () => ({ close: async () => {} }) as unknown as Dispatcher, series: () => series };
}
