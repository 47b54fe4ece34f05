/**
 * What happened to a request on an HTTP/2 connection. `unsent`: it never left, or the GOAWAY of the
 * server says that it was not processed. `refused`: the server reset its stream with REFUSED_STREAM,
 * unprocessed. `reset`: the server reset the stream. `protocol`: what came breaks the rules of HTTP, or the server says
 * so of the request. `closed`: the connection broke. `timeout`:
 * nothing arrived for too long.
 */
export type StreamFailureKind = 'unsent' | 'refused' | 'reset' | 'protocol' | 'closed' | 'timeout';

/** A failure of one stream, for the transport itself; outside of it these become mesh errors. */
export class StreamFailure extends Error {
  readonly kind: StreamFailureKind;
  /** HTTP/2 error code of a `reset`, or of a `protocol` that concerns one stream. */
  readonly rstCode: number | undefined;

  constructor(kind: StreamFailureKind, message: string, cause?: unknown, rstCode?: number) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StreamFailure';
    this.kind = kind;
    this.rstCode = rstCode;
  }

  /** Nobody has seen the request: it may be sent again, whatever its method (RFC 9113 section 8.7). */
  get unprocessed(): boolean {
    return this.kind === 'unsent' || this.kind === 'refused';
  }
}

/** How a connection ended with this error: Node's reader has its own for frames of the server that break the rules. */
export function kindOfEnd(error: Error | undefined): 'closed' | 'protocol' {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'ERR_HTTP2_ERROR' ? 'protocol' : 'closed';
}
