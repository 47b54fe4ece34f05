import { type Agent, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type HrTime, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { systemClock } from 'inmesh/identity';

/** Where spans go, and how. */
export interface ZipkinTarget {
  /** `http://zipkin.istio-system:9411/api/v2/spans`. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Time for one batch, milliseconds. */
  readonly timeoutMs: number;
  readonly agent?: Agent;
}

/** An answer that is longer is none of Zipkin's. */
const maxAnswerBytes = 65_536;

/**
 * Sends spans in Zipkin's JSON (version 2). OpenTelemetry's own exporter has no timeout: one that never
 * answers keeps a request, a socket and a batch of spans for each attempt, for ever.
 */
export function zipkinExporter(target: ZipkinTarget): SpanExporter {
  const url = new URL(target.url);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const pending = new Set<Promise<void>>();
  let closed = false;

  const post = (body: string): Promise<ExportResult> =>
    new Promise((resolve) => {
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        ...target.headers,
      };
      // Throws for a header that cannot be sent; then the promise is refused, and nothing is under way.
      const outgoing = send(url, { method: 'POST', headers, ...(target.agent && { agent: target.agent }) });
      const { promise: over, resolve: settle } = Promise.withResolvers<void>();
      pending.add(over);
      const finish = (error?: Error): void => {
        cancel();
        pending.delete(over);
        settle();
        resolve(error === undefined ? { code: ExportResultCode.SUCCESS } : { code: ExportResultCode.FAILED, error });
      };
      const cancel = systemClock.after(target.timeoutMs, () => {
        const error = new Error(`no answer of ${url.host} in ${target.timeoutMs} ms`);
        outgoing.destroy(error);
        finish(error);
      });
      outgoing.on('error', finish);
      outgoing.on('response', (answer) => {
        const status = answer.statusCode ?? 0;
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > maxAnswerBytes) outgoing.destroy(new Error(`${url.host} answers without an end`));
        });
        answer.on('error', finish);
        answer.on('end', () => finish(status < 300 ? undefined : new Error(`${url.host} answers ${status}`)));
      });
      outgoing.end(body);
    });

  return {
    export(spans, done) {
      if (closed) done({ code: ExportResultCode.FAILED, error: new Error('the exporter is closed') });
      else {
        void post(JSON.stringify(spans.map(zipkinSpan))).then(done, (error: Error) =>
          done({ code: ExportResultCode.FAILED, error }),
        );
      }
    },
    async shutdown() {
      closed = true;
      await Promise.all(pending);
    },
    async forceFlush() {
      await Promise.all(pending);
    },
  };
}

const kinds: Partial<Record<SpanKind, string>> = {
  [SpanKind.SERVER]: 'SERVER',
  [SpanKind.CLIENT]: 'CLIENT',
  [SpanKind.PRODUCER]: 'PRODUCER',
  [SpanKind.CONSUMER]: 'CONSUMER',
};

/** A span in Zipkin's JSON; times in microseconds. */
export interface ZipkinSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name: string;
  readonly kind?: string;
  readonly timestamp: number;
  readonly duration: number;
  readonly localEndpoint: { readonly serviceName: string };
  readonly remoteEndpoint?: ZipkinEndpoint;
  readonly tags: Readonly<Record<string, string>>;
  readonly annotations: readonly { readonly timestamp: number; readonly value: string }[];
}

interface ZipkinEndpoint {
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly port?: number;
}

/** As OpenTelemetry's specification maps a span to Zipkin. */
export function zipkinSpan(span: ReadableSpan): ZipkinSpan {
  const { attributes, events, instrumentationScope, kind, name, parentSpanContext, resource, status } = span;
  const { spanId, traceId } = span.spanContext();
  const tags: Record<string, string> = {};
  for (const [key, value] of Object.entries(attributes)) tags[key] = String(value);
  for (const [key, value] of Object.entries(resource.attributes)) if (key !== 'service.name') tags[key] = String(value);
  tags['otel.scope.name'] = instrumentationScope.name;
  if (status.code === SpanStatusCode.ERROR) {
    tags['otel.status_code'] = 'ERROR';
    tags['error'] = status.message ?? String(attributes['error.type'] ?? 'true');
  }
  const peer = attributes['network.peer.address'];
  const port = attributes['network.peer.port'];
  return {
    traceId,
    id: spanId,
    ...(parentSpanContext === undefined ? {} : { parentId: parentSpanContext.spanId }),
    name,
    ...(kinds[kind] === undefined ? {} : { kind: kinds[kind] as string }),
    timestamp: microseconds(span.startTime),
    // Zipkin knows no span without a duration.
    duration: Math.max(1, microseconds(span.duration)),
    localEndpoint: { serviceName: String(resource.attributes['service.name'] ?? 'unknown') },
    ...(typeof peer === 'string' ? { remoteEndpoint: endpointOf(peer, port) } : {}),
    tags,
    annotations: events.map((event) => ({ timestamp: microseconds(event.time), value: eventText(event) })),
  };
}

function endpointOf(address: string, port: unknown): ZipkinEndpoint {
  return {
    ...(address.includes(':') ? { ipv6: address } : { ipv4: address }),
    ...(typeof port === 'number' ? { port } : {}),
  };
}

function eventText({ attributes = {}, name }: ReadableSpan['events'][number]): string {
  return Object.keys(attributes).length === 0 ? name : `"${name}": ${JSON.stringify(attributes)}`;
}

function microseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1_000_000 + Math.round(nanoseconds / 1_000);
}
