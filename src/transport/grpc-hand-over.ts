import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../lib/clock.ts';
import { grpcTimeout, grpcTimeoutMs } from '../lib/grpc-timeout.ts';
import type { Logger } from '../lib/logger.ts';
import { countAnswer } from '../pipeline/call-messages.ts';
import { currentScope, emitInScope } from '../pipeline/scope.ts';
import { callOf, headerHints, type ServerCall } from '../pipeline/server-call.ts';
import { endUnread, type GrpcRequest, type GrpcResponse, isReadToEnd } from './grpc-exchange.ts';
import { type CallLimits, watchCalls } from './grpc-inflow.ts';

/** Serves the calls of gRPC that the mesh has let in: `MeshServer` of `@inmesh/grpc`, or one of your own. */
export interface GrpcApplication {
  /**
   * One call, after all policy has let it in. `headers` are its metadata with pseudo-headers, as the mesh
   * left them: path in its canonical form, identity headers of strangers removed, `grpc-timeout` what is
   * left of it. What runs in here, and whatever `stream` emits, is in the scope of the call.
   */
  serveCall(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void;
  /**
   * Whether callers of this path send exactly one message: those that begin and do not go on are ended after
   * `limits.bodyIdleMs`. Default: no, and callers may be silent between messages.
   */
  takesOneMessage?(path: string): boolean;
}

/** The last step of the server pipeline for calls of gRPC: what that of HTTP does with an application's function. */
export function grpcListener(
  application: GrpcApplication,
  limits: CallLimits,
  logger: Logger,
  clock: Clock,
): RequestListener {
  const watch = watchCalls(clock, limits);
  // Of which stream `this` says: one function for all.
  const complete = function (this: ServerHttp2Stream): void {
    // Trailers go out one turn of the loop later; a reset must not overtake them.
    if (!isReadToEnd(this)) clock.afterIo(() => endUnread(this));
  };
  const finished = function (this: ServerHttp2Stream): void {
    if (this.sentHeaders?.['grpc-status'] !== undefined) complete.call(this);
  };
  // In place of the stream's own, which is called where nobody could catch what it throws: in a callback of Node.
  const sendTrailers = function (this: ServerHttp2Stream, trailers: OutgoingHttpHeaders): void {
    try {
      (Object.getPrototypeOf(this) as ServerHttp2Stream).sendTrailers.call(this, trailers);
    } catch (error) {
      logger.error({ error }, 'the trailers of a call cannot be sent');
      this.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  };
  return (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { headers, stream } = incoming as unknown as GrpcRequest;
    // Whoever went away while others were asked about it has nothing to be served.
    if (stream.destroyed || stream.closed) return;
    const call = callOf(incoming) as ServerCall;
    (outgoing as unknown as GrpcResponse).handOver();
    stream.sendTrailers = sendTrailers;
    if (headers[':authority'] !== undefined) delete headers.host;
    if ((call.hints & headerHints.timeout) !== 0) tellTimeLeft(call, headers);
    try {
      watch(stream, application.takesOneMessage?.(headers[':path'] ?? '') === true, call.messages);
      if (call.messages !== undefined) countAnswer(call.messages, stream);
      stream.once('wantTrailers', complete);
      stream.once('finish', finished);
      const scope = currentScope();
      // Callbacks of a stream would run in the context of its session.
      if (scope !== undefined) emitInScope(stream, scope);
      application.serveCall(stream, headers);
    } catch (error) {
      // Thrown into the session it would end the process: for one call, and perhaps at a stranger's wish.
      logger.error({ error, path: call.path }, 'the gRPC server failed to take a call');
      if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  };
}

/** What filters and waiting took is gone; and what is too long for a timer is no deadline. */
function tellTimeLeft({ deadline, owner }: ServerCall, headers: IncomingHttpHeaders): void {
  if (Number.isFinite(deadline)) headers['grpc-timeout'] = grpcTimeout(deadline - owner.clock.now());
  else if (Number.isFinite(grpcTimeoutMs(headers['grpc-timeout'] as string | undefined)))
    delete headers['grpc-timeout'];
}
