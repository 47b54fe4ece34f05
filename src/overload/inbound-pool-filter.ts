import { MeshError } from '../errors.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isQueued } from '../pipeline/queued.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { goLater } from './go-later.ts';
import type { InboundPoolMemory, PortPool, Waiting } from './inbound-pools.ts';

/**
 * Sidecar `inboundConnectionPool`: no more requests at a time than a port may have. Some wait, as long as their callers
 * do; the others are answered 503, as by Envoy whose connection pool overflows.
 */
export function inboundPoolFilter(memory: InboundPoolMemory): Filter<ServerCall, void> {
  const enter: Filter<ServerCall, void> = (call, next) => {
    const pool = memory.of(call.localPort);
    const { connection, request, response } = call;
    // Requests of HTTP/2 share a connection.
    const overHttp2 = connection?.overHttp2 ?? request.httpVersionMajor === 2;
    const visit = overHttp2 ? undefined : new Visit(pool, call);
    const entrance = pool.enter(visit);
    if (entrance === 'full') throw overflow;
    if (entrance === 'waiting') {
      if (!isResponseClosed(response)) return (visit as Visit).wait(next);
      // It has heard of its end already, and would have its place for ever.
      pool.giveUp(visit as Visit);
      throw callerGone();
    }
    if (isResponseClosed(response)) pool.leave(visit);
    else response.once('close', () => pool.leave(visit));
    return next(call);
  };
  return (call, next) => (isQueued(call.response) ? inTurn(call, enter, next) : enter(call, next));
}

/**
 * A sidecar does not look at a request before those are answered that were sent before it on its connection. With a
 * place it would keep one until then, while perhaps they wait for that.
 */
async function inTurn(
  call: ServerCall,
  enter: Filter<ServerCall, void>,
  next: Service<ServerCall, void>,
): Promise<void> {
  const { response } = call;
  if (isResponseClosed(response)) throw callerGone();
  await new Promise<void>((resolve) => {
    response.once('socket', () => resolve());
    response.once('close', () => resolve());
  });
  if (isResponseClosed(response)) throw callerGone();
  return await enter(call, next);
}

/** Made once: an error takes a picture of the stack. */
const overflow = new MeshError('ERR_MESH_CONCURRENCY_LIMIT', 'this port has as many requests under way as it may');

function callerGone(): MeshError {
  return new MeshError('ERR_MESH_CLIENT_GONE', 'the caller went away while it waited for a place');
}

/** An HTTP/1.1 request, while it waits or has a place. */
class Visit implements Waiting {
  readonly #pool: PortPool;
  readonly #call: ServerCall;
  #go: (() => void) | undefined;
  #refuse: ((error: MeshError) => void) | undefined;

  constructor(pool: PortPool, call: ServerCall) {
    this.#pool = pool;
    this.#call = call;
    this.#go = undefined;
    this.#refuse = undefined;
  }

  wait(next: Service<ServerCall, void>): Promise<void> {
    const { response } = this.#call;
    const gone = (): void => {
      this.#pool.giveUp(this);
      this.#refuse?.(callerGone());
    };
    response.once('close', gone);
    return new Promise<void>((resolve, reject) => {
      this.#refuse = (error) => {
        response.off('close', gone);
        reject(error);
      };
      const begin = (): void => {
        response.off('close', gone);
        response.once('close', () => this.#pool.leave(this));
      };
      this.#go = goLater({ call: this.#call, next, begin, resolve, reject });
    });
  }

  admitted(): void {
    this.#go?.();
  }

  refused(): void {
    this.#refuse?.(overflow);
  }
}
