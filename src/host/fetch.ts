import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import { openerOf } from '../lib/replayable-body.ts';
import { type Nearness, RedirectGuard } from './redirects.ts';

type Fetch = typeof globalThis.fetch;
type Init = NonNullable<Parameters<Fetch>[1]>;

/**
 * The fetch of this Node, taken when the module loads and not per call: an application may well
 * say `globalThis.fetch = mesh.fetch`, which must not make it call itself.
 */
const nodeFetch: Fetch = globalThis.fetch;

type Body = NonNullable<Dispatcher.DispatchOptions['body']>;

/** Sends a body of its own wherever there is one to be sent. */
class WithBody {
  readonly #dispatcher: Dispatcher;
  readonly #body: Body;

  constructor(dispatcher: Dispatcher, body: Body) {
    this.#dispatcher = dispatcher;
    this.#body = body;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const given = options.body === null || options.body === undefined ? options : { ...options, body: this.#body };
    return this.#dispatcher.dispatch(given, handler);
  }
}

/**
 * A drop-in for `fetch` whose calls go through `dispatcher`. It is Node's own fetch underneath, so
 * `Request`, `Response`, `Headers` and `FormData` are the global ones.
 *
 * Redirects are followed with less than fetch would hand on: see {@link RedirectGuard}.
 *
 * A `dispatcher` in `init` is refused with `ERR_MESH_OPTION_INVALID`: it would take the call around
 * mTLS and policy without anyone noticing. Who wants that calls the global fetch. A dispatcher that
 * a `Request` was made with gives way to the mesh.
 */
export function createFetch(dispatcher: Dispatcher, nearnessOf?: (origin: string) => Nearness): Fetch {
  return async function fetch(input, init) {
    // One for each fetch: it tells what is sent first from what a redirect asks for.
    const meshed = { dispatcher: new RedirectGuard(dispatcher, nearnessOf) } as unknown as Init;
    if (init === undefined || init === null) return nodeFetch(input, meshed);
    const other = (init as { dispatcher?: unknown }).dispatcher;
    if (other !== undefined && other !== null && other !== dispatcher) {
      throw new MeshError(
        'ERR_MESH_OPTION_INVALID',
        'mesh.fetch does not take a dispatcher: the call would leave the mesh. Use the global fetch for that',
      );
    }
    if (openerOf((init as { readonly body?: unknown }).body) !== undefined) {
      const { body } = init as { readonly body: Body };
      // fetch would read the body as a plain stream: it gets an empty one to hold in its place.
      const guarded = new RedirectGuard(new WithBody(dispatcher, body), nearnessOf);
      const held = { body: new ReadableStream({ type: 'bytes' }), duplex: 'half' };
      return nodeFetch(input, { ...init, ...held, dispatcher: guarded } as unknown as Init);
    }
    const prototype = Object.getPrototypeOf(init) as unknown;
    if (prototype === Object.prototype || prototype === null) return nodeFetch(input, { ...init, ...meshed });
    // A Request as init keeps its values in getters of its class, which a copy would lose.
    return nodeFetch(new Request(input, init), meshed);
  };
}
