/** One way of calling, measured in a process of its own. */
export interface OutboundVariant {
  readonly name: string;
  /** Name of the variant that it is compared with; its own name for a base. */
  readonly base: string;
  /**
   * Prepares and returns one call: it resolves when the whole response body was read, and rejects
   * for any status but 200. `ports` are two ports of the same target; only a mesh uses the second.
   */
  prepare(ports: readonly [number, number]): Promise<PreparedCalls>;
  /** It brings servers of its own, and calls none of the ports. */
  readonly ownServers?: true;
}

export interface PreparedCalls {
  call(): Promise<void>;
  close(): Promise<void>;
}

/** One way of serving, in a process of its own. */
export interface InboundVariant {
  readonly name: string;
  readonly base: string;
  /** Serves `GET /hello` on 127.0.0.1 with `{"hello":"world"}`. */
  serve(): Promise<PreparedServer>;
}

export interface PreparedServer {
  readonly port: number;
  /** It demands client certificates, and these are here. Absent: plaintext. */
  readonly folder?: string;
  /** It serves calls of gRPC, and nothing else. */
  readonly grpc?: true;
  /** Requests have tokens, signed with this key. Absent: none. */
  readonly tokens?: BenchTokens;
  close(): Promise<void>;
}

/** How the load makes its tokens. */
export interface BenchTokens {
  /** Private key for ES256, PEM. */
  readonly key: string;
  /** Every request has another one. */
  readonly fresh: boolean;
}

/** Fails a call that was not answered as the target answers: a fast error must not count. */
export function expectOk(status: number): void {
  if (status !== 200) throw new Error(`status ${status}`);
}
