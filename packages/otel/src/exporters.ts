import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { createEmptyMetadata } from '@opentelemetry/otlp-grpc-exporter-base';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { ProviderHeader, TracingProvider } from 'inmesh';
import { MeshError } from 'inmesh';
import { zipkinExporter } from './zipkin-exporter.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where spans go, in words for the log; `exporter` absent: nowhere. */
export interface ChosenExporter {
  readonly target: string;
  readonly exporter: SpanExporter | undefined;
  /** Cuts connections that are still open. */
  cut(): void;
}

/** Longest time for one batch, where nothing else is said, milliseconds. */
const defaultTimeoutMs = 10_000;

/** Does the environment of the process say where spans go (`OTEL_TRACES_EXPORTER`, `OTEL_EXPORTER_…`)? */
export function namesExporter(environment: Environment): boolean {
  return [
    'OTEL_TRACES_EXPORTER',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    'OTEL_EXPORTER_ZIPKIN_ENDPOINT',
  ].some((name) => (environment[name] ?? '') !== '');
}

/**
 * The exporter that `OTEL_…` variables ask for: `otlp` (default; protocols http/protobuf, http/json, grpc),
 * `zipkin` or `none`. What OpenTelemetry's exporters read of the environment themselves, they read.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for an exporter or protocol that is none of these
 */
export function exporterFromEnvironment(environment: Environment): ChosenExporter {
  const named = environment['OTEL_TRACES_EXPORTER'];
  const kind = named !== undefined && named !== '' ? named.trim() : defaultKind(environment);
  if (kind === 'none') return nowhere;
  if (kind === 'zipkin') {
    const url = environment['OTEL_EXPORTER_ZIPKIN_ENDPOINT'] ?? 'http://localhost:9411/api/v2/spans';
    const timeoutMs = Number(environment['OTEL_EXPORTER_ZIPKIN_TIMEOUT'] ?? defaultTimeoutMs);
    return toZipkin(url, {}, Number.isFinite(timeoutMs) && timeoutMs > 0 ? timeoutMs : defaultTimeoutMs);
  }
  if (kind !== 'otlp') throw invalid('OTEL_TRACES_EXPORTER', 'otlp, zipkin or none', kind);
  const protocol =
    environment['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] ?? environment['OTEL_EXPORTER_OTLP_PROTOCOL'] ?? 'http/protobuf';
  const target = 'the endpoint of OTEL_EXPORTER_OTLP_ENDPOINT';
  const agents = ownAgents();
  const config = { httpAgentOptions: agents.factory };
  switch (protocol) {
    case 'http/protobuf':
      return { target, exporter: new ProtobufExporter(config), cut: agents.cut };
    case 'http/json':
      return { target, exporter: new JsonExporter(config), cut: agents.cut };
    case 'grpc':
      return { target, exporter: new GrpcExporter(), cut: agents.cut };
    default:
      throw invalid('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf, http/json or grpc', protocol);
  }
}

/** The exporter for one of Istio's `extensionProviders`; it is spoken to directly, by the name of its service. */
export function exporterFor(provider: TracingProvider, environment: Environment): ChosenExporter {
  const { kind, path, port, service, timeoutMs = defaultTimeoutMs } = provider;
  const origin = `http://${service.includes(':') ? `[${service}]` : service}:${port}`;
  const headers = headersOf(provider.headers, environment);
  if (kind === 'zipkin') return toZipkin(`${origin}${path}`, headers, timeoutMs);
  const agents = ownAgents();
  if (provider.protocol === 'http') {
    const url = `${origin}${path}`;
    const exporter = new ProtobufExporter({
      url,
      headers,
      timeoutMillis: timeoutMs,
      httpAgentOptions: agents.factory,
    });
    return { target: url, exporter, cut: agents.cut };
  }
  const metadata = metadataOf(headers);
  const exporter = new GrpcExporter({ url: origin, timeoutMillis: timeoutMs, metadata });
  return { target: origin, exporter, cut: agents.cut };
}

/** What no header of gRPC can say is left out: spans without it are worth more than none. */
function metadataOf(headers: Readonly<Record<string, string>>) {
  const metadata = createEmptyMetadata();
  for (const [name, value] of Object.entries(headers)) {
    try {
      // Configured as it is on the wire: in base64.
      metadata.set(name, name.toLowerCase().endsWith('-bin') ? Buffer.from(value, 'base64') : value);
    } catch {
      process.emitWarning(`initialMetadata ${JSON.stringify(name)} cannot be sent over gRPC, and is left out`, {
        code: 'INMESH_OTEL_METADATA',
      });
    }
  }
  return metadata;
}

/** Where nobody has said anything. */
export const nowhere: ChosenExporter = { target: 'nowhere', exporter: undefined, cut() {} };

function toZipkin(url: string, headers: Readonly<Record<string, string>>, timeoutMs: number): ChosenExporter {
  if (!URL.canParse(url)) throw invalid('the address of Zipkin', 'a URL', url);
  const agents = ownAgents();
  const agent = agents.factory(new URL(url).protocol);
  return { target: url, exporter: zipkinExporter({ url, headers, timeoutMs, agent }), cut: agents.cut };
}

/** Agents whose connections can be cut; afterwards they make none, so that an exporter that retries gives up. */
function ownAgents() {
  const made: Agent[] = [];
  const closed: Agent['createConnection'] = (_options, created) => {
    created?.(new Error('the exporter is closed'), undefined as never);
    return undefined;
  };
  return {
    factory(protocol: string): Agent {
      const agent = protocol === 'https:' ? new SecureAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
      made.push(agent);
      return agent;
    },
    cut() {
      for (const agent of made.splice(0)) {
        agent.createConnection = closed;
        agent.destroy();
      }
    },
  };
}

function headersOf(headers: readonly ProviderHeader[], environment: Environment): Record<string, string> {
  return Object.fromEntries(
    // Secrets in variables often come out of files that end with a line.
    headers.map(({ name, value, variable }) => [name, value ?? environment[variable ?? '']?.trim() ?? '']),
  );
}

function defaultKind(environment: Environment): string {
  const zipkin = environment['OTEL_EXPORTER_ZIPKIN_ENDPOINT'] ?? '';
  const otlp = environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] ?? '';
  return zipkin !== '' && otlp === '' ? 'zipkin' : 'otlp';
}

function invalid(what: string, mustBe: string, got: string): MeshError {
  return new MeshError(
    'ERR_MESH_OPTION_INVALID',
    `${what}: must be ${mustBe}, got ${JSON.stringify(got.slice(0, 80))}`,
  );
}
