import { performance } from 'node:perf_hooks';
import type { MetricFamily } from './metric-family.ts';

/** Gauges of the process itself, with the names that Prometheus' client libraries use. */
export function processFamilies(): readonly MetricFamily[] {
  const { system, user } = process.cpuUsage();
  const memory = process.memoryUsage();
  const utilization = performance.eventLoopUtilization();
  const gauge = (name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    type: 'gauge',
    samples: [{ labels: {}, value }],
  });
  return [
    {
      name: 'process_cpu_seconds_total',
      help: 'Processor time of this process, in seconds.',
      type: 'counter',
      samples: [{ labels: {}, value: (user + system) / 1e6 }],
    },
    gauge('process_resident_memory_bytes', 'Memory of this process that is in use.', memory.rss),
    gauge('process_start_time_seconds', 'When this process started, in seconds since the epoch.', startedAt()),
    gauge('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.', memory.heapTotal),
    gauge('nodejs_heap_size_used_bytes', 'Of the JavaScript heap, what is used.', memory.heapUsed),
    gauge('nodejs_external_memory_bytes', 'Memory outside of the heap that objects in it hold.', memory.external),
    gauge(
      'nodejs_eventloop_utilization',
      'Share of its time that the event loop was busy, since the start.',
      utilization.utilization,
    ),
    {
      name: 'nodejs_eventloop_active_seconds_total',
      help: 'Time that the event loop was busy.',
      type: 'counter',
      samples: [{ labels: {}, value: utilization.active / 1e3 }],
    },
    {
      name: 'nodejs_version_info',
      help: 'Version of Node.js.',
      type: 'gauge',
      samples: [{ labels: { version: process.version }, value: 1 }],
    },
  ];
}

const startedAt = (): number => performance.timeOrigin / 1e3;
