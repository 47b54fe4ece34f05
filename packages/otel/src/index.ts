export type { QueueOptions, SpanCounts } from './bounded-processor.ts';
export { meshMetrics } from './metrics.ts';
export { type StartedOtel, type StartOtelOptions, startOtel } from './start.ts';
export { type OtelTracingOptions, otelTracing, sampledByMesh } from './tracing.ts';
export { type ZipkinTarget, zipkinExporter } from './zipkin-exporter.ts';
