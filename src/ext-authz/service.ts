/** One end of the connection of a request: Envoy's `AttributeContext.Peer`. */
export interface CheckPeer {
  /** IP address; '' when the connection has none. */
  readonly address: string;
  readonly port: number;
  /** SPIFFE ID; '' without mTLS. */
  readonly principal: string;
}

/** What an authorizer is told of a request: Envoy's `AttributeContext`. */
export interface CheckAttributes {
  readonly source: CheckPeer;
  readonly destination: CheckPeer;
  /** When the request arrived, milliseconds since the epoch. */
  readonly timeMs: number;
  /** Unique in this process. */
  readonly id: string;
  readonly method: string;
  /** In canonical form, with the query. */
  readonly path: string;
  readonly host: string;
  readonly scheme: 'http' | 'https';
  /** `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`. */
  readonly protocol: string;
  /** Names in lower case; of a header that is there twice, the values with a comma between them, of cookies `; `. */
  readonly headers: ReadonlyMap<string, string>;
  /** Absent: it is not to be told of the body, or there is none. */
  readonly body?: CheckBody;
}

/** The body of a request, or the beginning of it. */
export interface CheckBody {
  readonly bytes: Buffer;
  /** There is more. */
  readonly partial: boolean;
  /** Sent as bytes and not as text (`packAsBytes`). */
  readonly asBytes: boolean;
}

/** One question to an authorizer that speaks `envoy.service.auth.v3` over gRPC. */
export interface AuthorizationCheck {
  /** Name of the `extensionProviders` entry. */
  readonly provider: string;
  /** `host:port`, as the registry names the service. */
  readonly service: string;
  readonly attributes: CheckAttributes;
  /**
   * Calls a gRPC method of the service through the mesh, with its mTLS, load balancing and limits:
   * takes and gives one message. Rejects when the call fails, or when its time is over.
   *
   * @param method `/package.Service/Method`
   */
  unary(method: string, message: Uint8Array): Promise<Uint8Array>;
}

/** What becomes of a header: Envoy's `HeaderAppendAction`. */
export type HeaderAction = 'append' | 'add-if-absent' | 'overwrite' | 'overwrite-if-exists';

/** One change of a header. */
export interface HeaderMutation {
  readonly name: string;
  readonly value: string;
  readonly action: HeaderAction;
}

/** What an authorizer says. */
export type AuthorizationVerdict =
  | {
      readonly kind: 'allow';
      /** For the application. */
      readonly requestHeaders: readonly HeaderMutation[];
      /** Taken away after the others are set, as in Envoy. */
      readonly removedHeaders: readonly string[];
      readonly query?: {
        /** URL-encoded. */
        readonly set: readonly (readonly [string, string])[];
        readonly remove: readonly string[];
      };
      /** For the response of the application. */
      readonly responseHeaders: readonly HeaderMutation[];
    }
  | {
      readonly kind: 'deny';
      readonly status: number;
      readonly headers: readonly HeaderMutation[];
      readonly body: Uint8Array;
    }
  | {
      /** It could not decide: as if there were no answer, and this is what a caller gets who is refused. */
      readonly kind: 'error';
      readonly status?: number;
      readonly headers: readonly HeaderMutation[];
      readonly body: Uint8Array;
    };

/**
 * Asks authorizers of the kind `envoyExtAuthzGrpc`. `@inmesh/ext-authz` has one that speaks Envoy's
 * protocol.
 */
export interface ExternalAuthorization {
  /** Rejects when there is no answer. */
  check(question: AuthorizationCheck): Promise<AuthorizationVerdict>;
}
