/** What the configuration says of access logs: Istio's Telemetry `accessLogging` and MeshConfig, merged for one workload. */
export interface AccessLogPolicy {
  /** Of the calls that it makes. */
  readonly client: readonly AccessLogSink[];
  /** Of the requests that it serves. */
  readonly server: readonly AccessLogSink[];
}

/** One log: where lines go, which, and what they look like. */
export interface AccessLogSink {
  /** Name of the extension provider; '' for the log of `accessLogFile`. */
  readonly name: string;
  /** `stdout`, `stderr`, or an absolute path, which the process has to allow. */
  readonly to: string;
  readonly encoding: 'text' | 'json';
  /** Envoy's command operators; an object for JSON. Absent: Istio's default. */
  readonly format?: AccessLogFormat;
  /** What is not there is an empty text, or no field. */
  readonly omitEmpty?: true;
  /** In CEL, over `callAttributes`: what it is not true of is not logged. */
  readonly filter?: string;
}

/** Text, or the fields of a JSON object, whose texts hold operators. */
export type AccessLogFormat = string | JsonFormat;
export interface JsonFormat {
  readonly [name: string]: JsonTemplate;
}
export type JsonTemplate = string | number | boolean | null | readonly JsonTemplate[] | JsonFormat;
