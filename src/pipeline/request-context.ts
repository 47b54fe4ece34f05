import type { IncomingMessage } from 'node:http';
import { MeshError } from '../errors.ts';
import type { AuthorizationDecision } from './authorization-decision.ts';
import { isResponseClosed } from './response-closed.ts';
import { currentScope, type Peer } from './scope.ts';
import { callOf, callOfScope, type ServerCall } from './server-call.ts';

/** What the mesh knows about an inbound request: `req.mesh` in Express and Fastify. */
export interface RequestContext {
  /** Who called, as its certificate proves; nothing in plaintext. */
  readonly peer: Peer | undefined;
  /** `x-request-id`: the caller's, or a new one. */
  readonly requestId: string;
  /** Claims of the caller's verified token; nothing when no token was verified. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  /**
   * What authorization said, and the policy and rule that let the request in; nothing without policies.
   * It is about this request alone: what `req.url` becomes afterwards was not judged.
   */
  readonly decision: AuthorizationDecision | undefined;
  /** Milliseconds until the caller stops waiting, never negative; infinite without a deadline. */
  remainingMs(): number;
  /**
   * Aborts when the caller's deadline passes (`ERR_MESH_DEADLINE_EXPIRED`) or the caller goes away
   * (`ERR_MESH_CLIENT_GONE`), never after a complete response. Made on first use: who does not
   * ask does not pay.
   */
  readonly signal: AbortSignal;
}

const contexts = new WeakMap<ServerCall, RequestContext>();

/**
 * The context of a request that passed `mesh.listen`, `mesh.handle` or a framework's adapter. Without a
 * request: of the one, or of the call of gRPC, that is being handled where this is called.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when it passed none of them
 *
 * @example
 * createServer((req, res) => mesh.handle(req, res, () => res.end(`hello ${requestContext(req).peer?.spiffeId}`)));
 */
export function requestContext(request?: IncomingMessage): RequestContext {
  const call = request === undefined ? callOfScope(currentScope() ?? {}) : callOf(request);
  if (call?.scope === undefined) {
    const what =
      request === undefined
        ? 'no request that passed the mesh is being handled here'
        : 'this request did not pass the mesh';
    throw new MeshError('ERR_MESH_OPTION_INVALID', `${what}: use mesh.listen or mesh.handle`);
  }
  let context = contexts.get(call);
  if (context === undefined) contexts.set(call, (context = new CallContext(call, call.scope.requestId)));
  return context;
}

/** `signal` of the request that is being served where this is called; nothing where none is. */
export function callerSignal(): AbortSignal | undefined {
  const scope = currentScope();
  if (scope === undefined || callOfScope(scope) === undefined) return undefined;
  return requestContext().signal;
}

class CallContext implements RequestContext {
  readonly requestId: string;
  readonly #call: ServerCall;
  #signal: AbortSignal | undefined;

  constructor(call: ServerCall, requestId: string) {
    this.#call = call;
    this.requestId = requestId;
    this.#signal = undefined;
  }

  get peer(): Peer | undefined {
    return this.#call.peer;
  }

  get claims(): Readonly<Record<string, unknown>> | undefined {
    return this.#call.tokenClaims;
  }

  get decision(): AuthorizationDecision | undefined {
    return this.#call.authorization;
  }

  remainingMs(): number {
    return Math.max(0, this.#call.deadline - this.#call.owner.clock.now());
  }

  get signal(): AbortSignal {
    return (this.#signal ??= signalOf(this.#call));
  }
}

function signalOf(call: ServerCall): AbortSignal {
  const { response, deadline } = call;
  const { clock } = call.owner;
  const controller = new AbortController();
  const gone = (): void => {
    if (response.writableFinished) return;
    controller.abort(new MeshError('ERR_MESH_CLIENT_GONE', 'the caller went away before it had the response'));
  };
  if (isResponseClosed(response)) {
    gone();
    return controller.signal;
  }
  const expire = (): void =>
    controller.abort(new MeshError('ERR_MESH_DEADLINE_EXPIRED', "the caller's deadline passed"));
  const cancel = Number.isFinite(deadline) ? clock.after(Math.max(0, deadline - clock.now()), expire) : undefined;
  response.once('close', () => {
    cancel?.();
    gone();
  });
  return controller.signal;
}
