import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { ownAddress } from './lib/own-address.ts';
import type { Random } from './lib/random.ts';
import type { Snapshot } from './model/snapshot.ts';
import { defaultTracingPolicy, type TracingPolicy } from './model/tracing.ts';
import type { Workload } from './model/workload.ts';
import type { TraceForm, Tracing } from './pipeline/tracing.ts';
import { destinationLabels } from './series-labels.ts';
import type { ServerLabels } from './telemetry/server-filter.ts';
import { createClientAttributes } from './trace/client-attributes.ts';
import type { ClientTracing } from './trace/client-filter.ts';
import { GuardedTracing } from './trace/guarded.ts';
import { createTraceSampler } from './trace/sampler.ts';
import { createServerAttributes, type TraceNode } from './trace/server-attributes.ts';
import type { ServerTracing } from './trace/server-filter.ts';

/** What a tracer is told of the mesh that it works for. */
export interface TracingSettings {
  readonly workload: Workload;
  /** Istio's canonical service: what spans say as `service.name`. */
  readonly service: string;
  /** Its revision; 'latest' where nothing says which. */
  readonly revision: string;
  /** What the configuration says, with Istio's defaults. */
  readonly policy: TracingPolicy;
}

/** A tracer for a mesh: {@link Tracing} that is told {@link TracingSettings}. */
export type MeshTracer = Tracing<TracingSettings>;

/** Tracing of one mesh. */
export interface MeshTracing {
  readonly server: ServerTracing;
  readonly client: ClientTracing;
  use(snapshot: Snapshot): void;
  close(): Promise<void>;
}

/** Longer than a tracer of `@inmesh/otel` takes by default; a mesh waits no longer for any. */
const closeMs = 30_000;

const w3c: readonly TraceForm[] = ['w3c'];
/** What sidecars read that report to Zipkin, and what everybody else reads. */
const zipkin: readonly TraceForm[] = ['w3c', 'b3multi'];

/** Ties a tracer to the pipelines, and to what the configuration says of it. */
export function createMeshTracing(
  tracer: MeshTracer,
  dependencies: {
    readonly workload: Workload;
    readonly clock: Clock;
    readonly random: Random;
    readonly logger: Logger;
    readonly environment: Readonly<Record<string, string | undefined>>;
  },
): MeshTracing {
  const { clock, environment, logger, random, workload } = dependencies;
  const tracing = new GuardedTracing(tracer, logger);
  const sampler = createTraceSampler(clock, random, tracer.parentSampled, tracer.samplingPercent);
  const labels = destinationLabels(workload);
  const node = nodeOf(workload, labels, environment);
  let policy: TracingPolicy = defaultTracingPolicy;
  let forms = tracer.forms ?? w3c;
  const configure = (): void => {
    forms = tracer.forms ?? (policy.client.provider?.kind === 'zipkin' ? zipkin : w3c);
    const { destinationCanonicalRevision: revision = 'latest', destinationCanonicalService: service = '' } = labels;
    try {
      tracer.configure?.({ workload, service, revision, policy });
    } catch (error) {
      tracing.failed(error);
    }
  };
  return {
    server: { tracing, sampler, clock, attributes: createServerAttributes(node), policy: () => policy.server },
    client: {
      tracing,
      sampler,
      clock,
      attributes: createClientAttributes(node),
      policy: () => policy.client,
      forms: () => forms,
    },
    use(snapshot) {
      policy = snapshot.tracing ?? defaultTracingPolicy;
      configure();
    },
    async close() {
      const { promise: tooLong, resolve } = Promise.withResolvers<void>();
      const cancel = clock.after(closeMs, resolve, true);
      try {
        await Promise.race([tracer.close?.(), tooLong]);
      } catch (error) {
        tracing.failed(error);
      } finally {
        cancel();
      }
    },
  };
}

function nodeOf(workload: Workload, labels: ServerLabels, environment: TraceNode['environment']): TraceNode {
  const { clusterDomain, name, namespace, trustDomain } = workload;
  return {
    // Envoy's, as Istio composes it; consoles take it apart.
    id: `sidecar~${ownAddress() ?? '127.0.0.1'}~${name}.${namespace}~${namespace}.svc.${clusterDomain}`,
    service: labels.destinationService,
    istioTags: {
      'istio.canonical_service': labels.destinationCanonicalService ?? name,
      'istio.canonical_revision': labels.destinationCanonicalRevision ?? 'latest',
      'istio.namespace': namespace,
      // Istio's default for a mesh without an id.
      'istio.mesh_id': trustDomain,
    },
    environment,
  };
}
