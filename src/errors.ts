/**
 * Every way in which inmesh fails, as a closed table: the code, the HTTP status that a proxy would
 * have answered, and Envoy's response flag where one exists. `docs/reference/errors.md` has a row
 * for each; a test keeps the two in agreement. A code is never reused with another meaning.
 */
export const errorTable = {
  /** A configuration document was refused; the last good configuration stays in force. */
  ERR_MESH_CONFIG_INVALID: { status: 500, flag: '' },
  /** An option, environment variable or argument has a wrong value. */
  ERR_MESH_OPTION_INVALID: { status: 500, flag: '' },
  /** No configuration or identity yet: `mesh.ready()` has not resolved. */
  ERR_MESH_NOT_READY: { status: 503, flag: '' },
  /** The mesh was closed, or is draining and takes no new calls. */
  ERR_MESH_CLOSED: { status: 503, flag: '' },
  /** No service entry for this host, and unknown hosts are refused (REGISTRY_ONLY). */
  ERR_MESH_HOST_UNKNOWN: { status: 502, flag: 'NR' },
  /** The host is known, but no route matches the request. */
  ERR_MESH_NO_ROUTE: { status: 404, flag: 'NR' },
  /** The route names a cluster that does not exist. */
  ERR_MESH_NO_CLUSTER: { status: 503, flag: 'NC' },
  /** The cluster has no endpoint that may be used. */
  ERR_MESH_NO_HEALTHY_ENDPOINT: { status: 503, flag: 'UH' },
  /** The connection to the endpoint could not be made. */
  ERR_MESH_CONNECT_FAILED: { status: 503, flag: 'UF' },
  /** The TLS handshake with the endpoint failed. */
  ERR_MESH_TLS_FAILED: { status: 503, flag: 'UF' },
  /** The endpoint's certificate does not prove the identity that the service must have. */
  ERR_MESH_PEER_IDENTITY: { status: 503, flag: 'UF' },
  /** The endpoint closed or reset the connection before the response was complete. */
  ERR_MESH_UPSTREAM_RESET: { status: 503, flag: 'UC' },
  /** What the endpoint sent is no HTTP response that may be passed on. */
  ERR_MESH_UPSTREAM_PROTOCOL: { status: 502, flag: 'UPE' },
  /** The endpoint refused the request without having looked at it (HTTP/2 REFUSED_STREAM, GOAWAY). */
  ERR_MESH_STREAM_REFUSED: { status: 503, flag: 'UR' },
  /** The endpoint reset the request, and no other on the same connection (HTTP/2 RST_STREAM). */
  ERR_MESH_STREAM_RESET: { status: 503, flag: 'UR' },
  /** The time for one try ran out. */
  ERR_MESH_TRY_TIMEOUT: { status: 504, flag: 'UT' },
  /** The time for the whole call ran out. */
  ERR_MESH_TIMEOUT: { status: 504, flag: 'UT' },
  /** The caller's deadline had passed before the work began. */
  ERR_MESH_DEADLINE_EXPIRED: { status: 504, flag: 'DT' },
  /** A connection-pool limit is reached. */
  ERR_MESH_OVERFLOW: { status: 503, flag: 'UO' },
  /** The circuit breaker of the destination is open: it failed too often, and is left alone for a while. */
  ERR_MESH_CIRCUIT_OPEN: { status: 503, flag: 'UO' },
  /** A fault that the configuration injects ended a call that cannot get a response: an upgrade, a CONNECT. */
  ERR_MESH_FAULT: { status: 503, flag: 'FI' },
  /** Something that cannot pass through the mesh was asked of it. */
  ERR_MESH_UNSUPPORTED: { status: 501, flag: '' },
  /** There is no certificate, or it has expired, and policy demands mTLS. */
  ERR_MESH_NO_IDENTITY: { status: 503, flag: '' },
  /** A call with credentials would have gone over a connection in plaintext. */
  ERR_MESH_NOT_SECURE: { status: 401, flag: '' },
  /** The certificate authority refused or could not be reached. */
  ERR_MESH_CA: { status: 503, flag: '' },
  /** The control plane that configuration comes from refused, could not be reached, or sent what cannot be read. */
  ERR_MESH_CONTROL_PLANE: { status: 503, flag: '' },
  /** The SPIFFE Workload API refused, could not be reached, or sent something unusable. */
  ERR_MESH_WORKLOAD_API: { status: 503, flag: '' },
  /** An inbound request breaks HTTP framing or normalisation rules. */
  ERR_MESH_BAD_REQUEST: { status: 400, flag: 'DPE' },
  /** The request has more headers than are accepted. */
  ERR_MESH_HEADERS_TOO_LARGE: { status: 431, flag: 'DPE' },
  /** The request claims a version of HTTP that this connection does not speak. */
  ERR_MESH_HTTP_VERSION: { status: 505, flag: 'DPE' },
  /** The request has a method that is never served (TRACE). */
  ERR_MESH_METHOD: { status: 405, flag: 'DPE' },
  /** The client went away before it had the response; reason of the abort signal of its request. */
  ERR_MESH_CLIENT_GONE: { status: 499, flag: 'DC' },
  /** mTLS is required (PeerAuthentication STRICT) and the caller did not use it. */
  ERR_MESH_MTLS_REQUIRED: { status: 403, flag: '' },
  /** A token of the request is not good for any RequestAuthentication, or one that is required is missing. */
  ERR_MESH_UNAUTHENTICATED: { status: 401, flag: '' },
  /** The token of the request is good, but for others: none of its audiences is accepted. */
  ERR_MESH_TOKEN_AUDIENCE: { status: 403, flag: '' },
  /** A RateLimit has nothing left for the request. */
  ERR_MESH_RATE_LIMITED: { status: 429, flag: 'RL' },
  /** The rate limit service does not answer, and the RateLimit says that nothing passes then. */
  ERR_MESH_RATE_LIMIT_SERVICE: { status: 500, flag: 'RLSE' },
  /** This server has as many requests under way as it may, or as one caller may. */
  ERR_MESH_CONCURRENCY_LIMIT: { status: 503, flag: 'UO' },
  /** This server is late with everything, and turns requests away. */
  ERR_MESH_OVERLOADED: { status: 503, flag: 'OM' },
  /** An EgressPolicy does not let this process make the call. */
  ERR_MESH_EGRESS_DENIED: { status: 403, flag: 'UAEX' },
  /** The body of the request is longer than an external authorizer may be shown. */
  ERR_MESH_BODY_TOO_LARGE: { status: 413, flag: '' },
  /** The external authorizer that a CUSTOM policy names does not answer, or cannot be asked. */
  ERR_MESH_AUTHORIZER: { status: 403, flag: 'UAEX' },
  /** An AuthorizationPolicy refused the request. */
  ERR_MESH_FORBIDDEN: { status: 403, flag: 'UAEX' },
} as const;

/** One of the codes in {@link errorTable}. */
export type MeshErrorCode = keyof typeof errorTable;

/** With these an endpoint, or the way to it, has failed: no limit of our own, no deadline of a caller, nobody's abort. */
export const endpointFailures: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'ERR_MESH_CONNECT_FAILED',
  'ERR_MESH_TLS_FAILED',
  'ERR_MESH_PEER_IDENTITY',
  'ERR_MESH_UPSTREAM_RESET',
  'ERR_MESH_UPSTREAM_PROTOCOL',
  'ERR_MESH_STREAM_REFUSED',
  'ERR_MESH_STREAM_RESET',
]);

/** What the stage that failed knows. All optional: each stage adds what it has. */
export interface MeshErrorDetails {
  readonly cause?: unknown;
  readonly route?: string;
  readonly cluster?: string;
  readonly endpoint?: string;
  /** Body of the answer that a caller gets instead of a response. Default: the words for the code. */
  readonly answerBody?: string;
  /** Headers of that answer. */
  readonly answerHeaders?: readonly (readonly [string, string])[];
  /** The whole answer that a caller gets, where somebody else has decided about it. */
  readonly answer?: FailureAnswer;
}

/** An answer that is not the mesh's own. */
export interface FailureAnswer {
  readonly status: number;
  /** In order; a name may come more than once. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
}

/**
 * The only error class of inmesh. `code` says what happened, `status` what a proxy would have
 * answered, `flag` is Envoy's response flag ('' when Envoy has none).
 */
export class MeshError extends Error {
  readonly code: MeshErrorCode;
  readonly status: number;
  readonly flag: string;
  readonly route: string | undefined;
  readonly cluster: string | undefined;
  readonly endpoint: string | undefined;
  readonly answerBody: string | undefined;
  readonly answerHeaders: readonly (readonly [string, string])[] | undefined;
  /** Cookies of a login, perhaps: behind a getter, so that no logger that lists the fields of an error writes them. */
  readonly #answer: FailureAnswer | undefined;

  constructor(code: MeshErrorCode, message: string, details?: MeshErrorDetails) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'MeshError';
    this.code = code;
    this.status = details?.answer?.status ?? errorTable[code].status;
    this.flag = errorTable[code].flag;
    this.route = details?.route;
    this.cluster = details?.cluster;
    this.endpoint = details?.endpoint;
    this.answerBody = details?.answerBody;
    this.answerHeaders = details?.answerHeaders;
    this.#answer = details?.answer;
  }

  /** What the caller gets, where somebody else has decided about it. */
  get answer(): FailureAnswer | undefined {
    return this.#answer;
  }
}

/** Walks the `cause` chain and returns the first {@link MeshError} (with this code, when given). */
export function causeOf(error: unknown, code?: MeshErrorCode): MeshError | undefined {
  let at: unknown = error;
  // Errors of Node itself are not of this `Error` where a test runner loads modules into a context of its own.
  for (let depth = 0; typeof at === 'object' && at !== null && depth < 16; depth++) {
    if (at instanceof MeshError && (code === undefined || at.code === code)) return at;
    at = (at as { readonly cause?: unknown }).cause;
  }
  return undefined;
}
