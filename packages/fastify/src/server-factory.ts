import { type RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Mesh, MeshError, type MeshServer } from 'inmesh';

/**
 * A server for `Fastify({ serverFactory })`: `fastify.listen()` then serves through the mesh, on
 * one port that speaks TLS or plaintext by PeerAuthentication, HTTP/1.1 and HTTP/2. Every request
 * is checked, and its path brought to canonical form, before Fastify's router sees it.
 *
 * `fastify.close()` drains it; with `forceCloseConnections: true` connections are cut instead.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when it is not given a mesh
 *
 * @example
 * const app = Fastify({ serverFactory: meshServerFactory(mesh) });
 */
export function meshServerFactory(mesh: Mesh): (handler: RequestListener) => MeshHttpServer {
  if (typeof mesh?.listen !== 'function') {
    throw new MeshError('ERR_MESH_OPTION_INVALID', 'meshServerFactory(mesh) needs the mesh that createMesh returned');
  }
  return (handler) => new MeshHttpServer(mesh, handler);
}

/** Looks like an HTTP server to Fastify; the mesh does the serving. */
export class MeshHttpServer extends Server {
  readonly #mesh: Mesh;
  readonly #handler: RequestListener;
  #running: MeshServer | undefined;
  #ending: MeshServer | undefined;
  #closing: Promise<void> | undefined;

  constructor(mesh: Mesh, handler: RequestListener) {
    super();
    this.#mesh = mesh;
    this.#handler = handler;
    this.#running = undefined;
    this.#ending = undefined;
    this.#closing = undefined;
    // `net.Server` has this as an accessor of its prototype, which looks at a handle that we lack.
    Object.defineProperty(this, 'listening', { get: () => this.#running !== undefined });
  }

  /** As in `node:net`: `listen({ port, host })`, `listen(port, host, callback)`. Tells by `listening` or `error`. */
  override listen(...given: unknown[]): this {
    const callback = given.find((value) => typeof value === 'function') as (() => void) | undefined;
    if (callback !== undefined) this.once('listening', callback);
    const options = optionsOf(given);
    this.#start(options).then(
      () => this.emit('listening'),
      (error: unknown) => this.emit('error', error),
    );
    return this;
  }

  async #start({ port, host, path }: ListenTarget): Promise<void> {
    if (path !== undefined) {
      throw new MeshError('ERR_MESH_UNSUPPORTED', `the mesh does not listen on Unix sockets: ${JSON.stringify(path)}`);
    }
    const server = await this.#mesh.listen(this.#handler, {
      ...(port === undefined ? {} : { port }),
      ...(host === undefined ? {} : { host }),
    });
    if (this.#closing !== undefined) await server.close(0);
    else this.#running = server;
  }

  override address(): AddressInfo | null {
    if (this.#running === undefined) return null;
    const { host: address, port } = this.#running;
    return { address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' };
  }

  /** Drains, then tells `callback`. */
  override close(callback?: (error?: Error) => void): this {
    this.#closing ??= this.#end();
    this.#closing.then(() => callback?.(), callback);
    return this;
  }

  async #end(graceMs?: number): Promise<void> {
    this.#ending = this.#running;
    this.#running = undefined;
    await this.#ending?.close(graceMs);
    this.emit('close');
  }

  override closeAllConnections(): void {
    if (this.#closing === undefined) this.#closing = this.#end(0);
    else void this.#ending?.close(0);
  }

  /** The mesh closes idle connections while it drains. */
  override closeIdleConnections(): void {}
}

interface ListenTarget {
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
}

function optionsOf(given: readonly unknown[]): ListenTarget {
  const [first, second] = given;
  if (typeof first === 'object' && first !== null) return first;
  if (typeof first === 'string' && Number.isNaN(Number(first))) return { path: first };
  return {
    ...(first === undefined || typeof first === 'function' ? {} : { port: Number(first) }),
    ...(typeof second === 'string' ? { host: second } : {}),
  };
}
