import type { Channel, ChannelCredentials, ChannelOptions, ClientOptions } from '@grpc/grpc-js';
import { connectivityState } from '@grpc/grpc-js';
import { type Mesh, MeshError } from 'inmesh';
import type { GrpcCall, GrpcRetry } from 'inmesh/grpc';
import { type ChannelSettings, readChannelOptions } from './channel-settings.ts';
import type { Encoding } from './compression.ts';
import { Connectivity } from './connectivity.ts';
import { type AskedCredentials, readCredentials } from './credentials.ts';
import type { ChannelLike } from './grpc-js.ts';
import { MeshCall } from './mesh-call.ts';
import { parseTarget, type Target } from './target.ts';

/** What a gRPC client needs of a mesh. */
export type CallingMesh = Pick<Mesh, 'dispatcher' | 'ready'>;

type CreateCall = Parameters<ChannelLike['createCall']>;

/**
 * Options that let a client of grpc-js call through the mesh, in place of connections of its own: with
 * the routes, retries, timeouts, limits, mTLS and telemetry that calls over HTTP have. For clients of
 * generated code, of `@grpc/proto-loader` and of NestJS (`channelOptions`).
 *
 * @param options of grpc-js; those that say how connections are made are for the mesh to say
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` when it is not given a mesh
 *
 * @example
 * const client = new Greeter('greeter:50051', credentials.createInsecure(), meshChannelOptions(mesh));
 */
export function meshChannelOptions(mesh: CallingMesh, options: ClientOptions = {}): ClientOptions {
  checkMesh('meshChannelOptions', mesh);
  return {
    ...options,
    channelFactoryOverride: (target, credentials, given) =>
      createChannel(mesh, target, credentials, given as ChannelOptions),
  };
}

/**
 * A channel through the mesh, for libraries that take one (nice-grpc, or grpc-js's `channelOverride`).
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for a target or an option that is wrong, and when it is not given a mesh
 */
export function meshChannel(
  mesh: CallingMesh,
  target: string,
  options: ChannelOptions = {},
  credentials?: ChannelCredentials,
): Channel {
  checkMesh('meshChannel', mesh);
  // Libraries ask for the class that grpc-js exports as its channel, and use no more than its interface.
  return createChannel(mesh, target, credentials, options) as unknown as Channel;
}

function checkMesh(what: string, mesh: unknown): void {
  const { dispatcher } = (mesh ?? {}) as Partial<CallingMesh>;
  if (dispatcher === undefined) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `${what}(mesh) needs the mesh that createMesh returned`);
  }
}

function createChannel(
  mesh: CallingMesh,
  target: string,
  credentials: ChannelCredentials | undefined,
  options: ChannelOptions,
): MeshChannel {
  const settings = readChannelOptions(options);
  const { ignored = [] } = settings.service ?? {};
  if (ignored.length > 0) {
    const message = `grpc.service_config of ${target}: ${ignored.join(', ')} have no effect in a mesh`;
    process.emitWarning(message, { code: 'INMESH_SERVICE_CONFIG' });
  }
  return new MeshChannel(mesh, target, readCredentials(credentials), settings);
}

/** grpc-js's channel over the mesh's dispatcher. */
export class MeshChannel implements ChannelLike {
  readonly mesh: CallingMesh;
  readonly target: Target;
  readonly credentials: AskedCredentials;
  readonly settings: ChannelSettings;
  /** Encodings that the service reads, once it has told. */
  peerEncodings: readonly string[] | undefined;
  readonly #given: string;
  readonly #connectivity: Connectivity;
  readonly #waiting: Set<MeshCall>;
  readonly #plain: Map<GrpcRetry | undefined, GrpcCall>;
  readonly #secure: Map<GrpcRetry | undefined, GrpcCall>;
  #calls: number;

  constructor(mesh: CallingMesh, target: string, credentials: AskedCredentials, settings: ChannelSettings) {
    this.mesh = mesh;
    this.target = parseTarget(target);
    this.credentials = credentials;
    this.settings = settings;
    this.peerEncodings = undefined;
    this.#given = target;
    this.#connectivity = new Connectivity(mesh);
    this.#waiting = new Set();
    this.#plain = new Map();
    this.#secure = new Map();
    this.#calls = 0;
  }

  get closed(): boolean {
    return this.#connectivity.state === connectivityState.SHUTDOWN;
  }

  /** Takes no more calls; those under way go on. */
  close(): void {
    this.#connectivity.close();
    for (const call of this.#waiting) call.channelClosed();
  }

  getTarget(): string {
    return this.#given;
  }

  getConnectivityState(tryToConnect: boolean): connectivityState {
    const { state } = this.#connectivity;
    if (tryToConnect) this.#connectivity.connect();
    return state;
  }

  watchConnectivityState(
    currentState: connectivityState,
    deadline: Date | number,
    callback: (error?: Error) => void,
  ): void {
    this.#connectivity.watch(currentState, deadline, callback);
  }

  /** There is nothing behind it: what the mesh knows of connections, `mesh.stats()` says. */
  getChannelzRef(): ReturnType<ChannelLike['getChannelzRef']> {
    return { kind: 'channel', id: 0, name: this.#given } as unknown as ReturnType<ChannelLike['getChannelzRef']>;
  }

  createCall(...[method, deadline, host, parent, flags]: CreateCall): MeshCall {
    if (typeof method !== 'string') throw new TypeError('Channel#createCall: method must be a string');
    if (typeof deadline !== 'number' && !(deadline instanceof Date)) {
      throw new TypeError('Channel#createCall: deadline must be a number or Date');
    }
    if (this.closed) throw new Error('Channel has been shut down');
    this.#connectivity.connect();
    return new MeshCall(this, {
      number: ++this.#calls,
      method,
      deadline: Number(deadline),
      host: host ?? this.settings.authority,
      parent,
      flags,
    });
  }

  /** How a call is compressed: as the channel says, unless the service does not read that. */
  get encoding(): Encoding {
    const { encoding } = this.settings;
    return this.peerEncodings === undefined || this.peerEncodings.includes(encoding) ? encoding : 'identity';
  }

  /** What the mesh is asked for calls of this method; the same object each time. */
  demandsOf(method: string, secure: boolean): GrpcCall {
    const retry = this.settings.service?.policyOf(method)?.retry;
    const known = secure ? this.#secure : this.#plain;
    let demands = known.get(retry);
    if (demands === undefined) {
      demands = { secure, retry, socketPath: this.target.socketPath };
      known.set(retry, demands);
    }
    return demands;
  }

  waits(call: MeshCall, waiting: boolean): void {
    if (waiting) this.#waiting.add(call);
    else this.#waiting.delete(call);
  }
}
