/** A call that an open circuit breaker refuses. */
export interface RefusedRequest {
  /** Full host of the service. */
  readonly service: string;
  readonly method: string;
  /** With query. */
  readonly path: string;
  header(name: string): string | undefined;
}

/** An answer in place of the service's. */
export interface FallbackResponse {
  /** Default 200. */
  readonly status?: number;
  /** With a body and no `content-type`: `text/plain`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** Makes the answer to a call that an open circuit breaker refuses. What it throws fails the call. */
export type FallbackFunction = (request: RefusedRequest) => FallbackResponse | Promise<FallbackResponse>;
