import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import {
  type deserialize,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  type ServerCredentials,
  type ServerOptions,
  type serialize,
} from '@grpc/grpc-js';
import { type GrpcApplication, type MeshServer as Listening, type Mesh, MeshError } from 'inmesh';
import { addressKey, listenAddress } from './address.ts';
import { checkGrpcJs, serveStream } from './grpc-js-server.ts';
import { checkCredentials, checkServerOptions } from './options.ts';

/** Longer than anybody waits for running calls: the most that a timer takes, 24 days. */
const patienceMs = 2_147_483_647;

type Handler<Request, Response> =
  | handleUnaryCall<Request, Response>
  | handleClientStreamingCall<Request, Response>
  | handleServerStreamingCall<Request, Response>
  | handleBidiStreamingCall<Request, Response>;

type Bound = (error: Error | null, port: number) => void;

/**
 * A server of `@grpc/grpc-js` behind the front door of the mesh: TLS or plaintext by PeerAuthentication,
 * identities, AuthorizationPolicies, tokens, rate limits, deadlines, metrics as for HTTP, before anything of
 * the application runs. Services, interceptors and all that is made for a `Server` go in as they are.
 *
 * Either it listens itself (`bindAsync`), or `mesh.listen(app, { port, grpc: server })` serves HTTP and gRPC
 * on one port. Handlers run in the scope of their call: `requestContext()` of `inmesh` tells who calls, and
 * calls that they make carry on trace and deadline.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for options that would have no effect, and where the installed
 *   grpc-js is none that this package knows
 *
 * @example
 * const server = new MeshServer(mesh);
 * server.addService(greeterService, { sayHello: (call, reply) => reply(null, { message: 'hello' }) });
 * server.bindAsync('0.0.0.0:50051', undefined, (error, port) => {});
 */
export class MeshServer extends Server implements GrpcApplication {
  readonly #mesh: Mesh;
  readonly #binding: Set<Promise<unknown>>;
  readonly #listening: Map<string, Listening>;
  readonly #single: Set<string>;
  #ended: boolean;

  constructor(mesh: Mesh, options: ServerOptions = {}) {
    if (typeof mesh?.listen !== 'function') {
      throw new MeshError('ERR_MESH_OPTION_INVALID', 'MeshServer needs what createMesh returned');
    }
    checkGrpcJs();
    checkServerOptions(options);
    super(options);
    this.#mesh = mesh;
    this.#binding = new Set();
    this.#listening = new Map();
    this.#single = new Set();
    this.#ended = false;
  }

  override register<Request, Response>(
    path: string,
    handler: Handler<Request, Response>,
    serializeResponse: serialize<Response>,
    deserializeRequest: deserialize<Request>,
    type: string,
  ): boolean {
    const isNew = super.register(path, handler, serializeResponse, deserializeRequest, type);
    if (isNew && (type === 'unary' || type === 'serverStream')) this.#single.add(path);
    return isNew;
  }

  override unregister(path: string): boolean {
    this.#single.delete(path);
    return super.unregister(path);
  }

  /** For the mesh: callers of this path owe one message and no more. */
  takesOneMessage(path: string): boolean {
    return this.#single.has(path);
  }

  /** For the mesh: one call that it has let in. */
  serveCall(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    serveStream(this, stream, headers);
  }

  /**
   * Listens through the mesh, once it is ready. What is not gRPC is answered 415, after the same decisions.
   *
   * @param address `host:port`; port 0: one that the system chooses
   * @param credentials may be left out; TLS is the mesh's own, other credentials than insecure ones are refused
   */
  override bindAsync(address: string, credentials: ServerCredentials | Bound | undefined, bound?: Bound): void {
    if (this.#ended) throw new Error('bindAsync called after shutdown');
    const callback = typeof credentials === 'function' ? credentials : bound;
    if (typeof callback !== 'function') throw new TypeError('callback must be a function');
    if (typeof credentials !== 'function') checkCredentials(credentials ?? undefined);
    const { host, port } = listenAddress(address);
    const binding = this.#listen(host, port).then(
      (opened) => process.nextTick(callback, null, opened),
      (error: Error) => process.nextTick(callback, error, 0),
    );
    this.#binding.add(binding);
    void binding.finally(() => this.#binding.delete(binding));
  }

  async #listen(host: string, port: number): Promise<number> {
    const listening = await this.#mesh.listen(refuseOthers, { host, port, grpc: this });
    if (this.#ended) {
      await listening.close(0);
      throw new Error('the server was shut down before it listened');
    }
    this.#listening.set(addressKey({ host, port: listening.port }), listening);
    return listening.port;
  }

  /** Stops listening on an address; running calls go on to their end. */
  override unbind(address: string): void {
    void this.#take(address)?.close(patienceMs);
  }

  /** Stops listening on an address; calls that run after `graceMs` are cut. */
  override drain(address: string, graceMs: number): void {
    void this.#take(address)?.close(graceMs);
  }

  #take(address: string): Listening | undefined {
    const { host, port } = listenAddress(address);
    if (port === 0) throw new Error(`cannot close port 0: name the port that ${host} was given`);
    const key = addressKey({ host, port });
    const listening = this.#listening.get(key);
    this.#listening.delete(key);
    return listening;
  }

  /** Stops listening, and calls back when the last running call has ended. */
  override tryShutdown(callback: (error?: Error) => void): void {
    void this.#end(patienceMs).then(
      () => super.tryShutdown(callback),
      (error: Error) => callback(error),
    );
  }

  /** Stops listening, and cuts what runs. */
  override forceShutdown(): void {
    void this.#end(0);
    super.forceShutdown();
  }

  async #end(graceMs: number): Promise<void> {
    this.#ended = true;
    await Promise.all([...this.#listening.values()].map((listening) => listening.close(graceMs)));
    await Promise.all(this.#binding);
  }

  /** Not needed, as in grpc-js. */
  override start(): void {}

  /** @throws MeshError `ERR_MESH_OPTION_INVALID`: what is injected would pass by the mesh */
  override createConnectionInjector(): never {
    throw passesBy();
  }

  /** @throws MeshError `ERR_MESH_OPTION_INVALID`: what is injected would pass by the mesh */
  override experimentalCreateConnectionInjectorWithChannelzRef(): never {
    throw passesBy();
  }
}

function passesBy(): MeshError {
  const what = 'connections that are injected would pass by the mesh';
  return new MeshError('ERR_MESH_OPTION_INVALID', `${what}: bindAsync, or the option grpc of mesh.listen`);
}

/** gRPC over HTTP/2: 415 where the content type is another. */
function refuseOthers(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(415, { 'content-type': 'text/plain', 'content-length': 22 });
  response.end('unsupported media type');
  request.resume();
}
