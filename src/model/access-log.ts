/** What the configuration says of the access log (Istio MeshConfig `accessLogFile`, `accessLogEncoding`, `accessLogFormat`). */
export interface AccessLogPolicy {
  /** Only these: a configuration does not choose files of this machine. */
  readonly to: 'stdout' | 'stderr';
  readonly encoding: 'text' | 'json';
  /** Envoy's command operators; an object for JSON. Absent: Istio's default. */
  readonly format?: string | Readonly<Record<string, string>>;
}
