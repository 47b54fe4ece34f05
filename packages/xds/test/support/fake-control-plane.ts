import {
  type ChannelOptions,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import type { Test } from 'tap';
import { type Any, pack } from '../../src/proto/any.ts';
import {
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  type DiscoveryResponse,
  deltaDiscoveryRequest,
  deltaDiscoveryResponse,
  discoveryRequest,
  discoveryResponse,
  type Resource,
  resourceSchema,
} from '../../src/proto/envoy/discovery.ts';
import { decode, encode, type Input } from '../../src/proto/schema.ts';
import { messageNames, nameOf, type ResourceType, resourceTypes } from '../../src/resources.ts';

/** What a client said, of either protocol. */
export interface Said {
  readonly type: ResourceType;
  readonly delta: Partial<DeltaDiscoveryRequest>;
  readonly sotw: Partial<DiscoveryRequest>;
}

/** One stream of a client. */
export interface FakeStream {
  readonly headers: Readonly<Record<string, string>>;
  /** All requests so far. */
  readonly said: readonly Said[];
  /** The next request of a type that was not asked for yet; waits for it. */
  next(type: ResourceType): Promise<Said>;
  /** Answers with resources; `nonce` and `version` are counted. */
  send(type: ResourceType, parts: Answer): string;
  sendRaw(bytes: Uint8Array): void;
  /** Ends the stream, with a status. */
  end(code?: number, details?: string): void;
}

export interface Answer {
  readonly resources?: readonly Any[];
  /** As they are, for what is about the wrapper. */
  readonly wrapped?: readonly Input<Resource>[];
  readonly removed?: readonly string[];
  readonly version?: string;
  readonly errors?: DiscoveryResponse['resource_errors'];
}

export interface FakeControlPlane {
  readonly address: string;
  readonly streams: readonly FakeStream[];
  /** The next stream; waits for it. */
  accept(): Promise<FakeStream>;
  close(): Promise<void>;
}

const typeOf = (url: string): ResourceType =>
  resourceTypes.find((type) => url.endsWith(`/${messageNames[type]}`)) ?? 'listeners';

/** An aggregated discovery service over a real socket that says what a test wants. */
export async function fakeControlPlane(
  t: Test,
  options: { readonly port?: number; readonly credentials?: ServerCredentials; readonly server?: ChannelOptions } = {},
): Promise<FakeControlPlane> {
  const streams: FakeStream[] = [];
  const waiting = createQueue<FakeStream>();
  const serve =
    (isDelta: boolean) =>
    (call: ServerDuplexStream<Buffer, Buffer>): void => {
      const stream = streamOf(call, isDelta);
      streams.push(stream);
      waiting.push(stream);
    };
  const server = new Server(options.server);
  server.addService(definition, { sotw: serve(false), delta: serve(true) });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(
      `127.0.0.1:${options.port ?? 0}`,
      options.credentials ?? ServerCredentials.createInsecure(),
      (error, bound) => (error === null ? resolve(bound) : reject(error)),
    ),
  );
  let closed = false;
  const close = async (): Promise<void> => {
    if (!closed) server.forceShutdown();
    closed = true;
  };
  t.teardown(close);
  return { address: `127.0.0.1:${port}`, streams, accept: () => waiting.next(), close };
}

const raw = (bytes: Buffer): Buffer => bytes;
const service = '/envoy.service.discovery.v3.AggregatedDiscoveryService';
const method = (path: string): ServiceDefinition[string] => ({
  path: `${service}/${path}`,
  requestStream: true,
  responseStream: true,
  requestSerialize: raw,
  requestDeserialize: raw,
  responseSerialize: raw,
  responseDeserialize: raw,
});
const definition: ServiceDefinition = {
  sotw: method('StreamAggregatedResources'),
  delta: method('DeltaAggregatedResources'),
};

function streamOf(call: ServerDuplexStream<Buffer, Buffer>, isDelta: boolean): FakeStream {
  const said: Said[] = [];
  const queues = new Map(resourceTypes.map((type) => [type, createQueue<Said>()]));
  let count = 0;
  call.on('data', (bytes: Buffer) => {
    const delta = isDelta ? decode(deltaDiscoveryRequest, bytes) : undefined;
    const sotw = isDelta ? undefined : decode(discoveryRequest, bytes);
    const type = typeOf((delta ?? sotw)?.type_url ?? '');
    const one: Said = { type, delta: delta ?? {}, sotw: sotw ?? {} };
    said.push(one);
    queues.get(type)?.push(one);
  });
  call.on('error', () => {});
  call.on('end', () => call.end());
  return {
    headers: Object.fromEntries(Object.entries(call.metadata.getMap()).map(([name, value]) => [name, String(value)])),
    said,
    next: (type) => (queues.get(type) as ReturnType<typeof createQueue<Said>>).next(),
    send(type, { errors = [], removed = [], resources = [], version, wrapped = [] }) {
      const nonce = `n${++count}`;
      const type_url = `type.googleapis.com/${messageNames[type]}`;
      if (isDelta) {
        const named = resources.map((resource) => ({ name: nameOf(resource), version: version ?? '', resource }));
        const response: Input<DeltaDiscoveryResponse> = {
          type_url,
          nonce,
          resources: [...named, ...wrapped],
          removed_resources: removed,
          system_version_info: version ?? `v${count}`,
          resource_errors: errors,
        };
        call.write(Buffer.from(encode(deltaDiscoveryResponse, response)));
      } else {
        const all = [...resources, ...wrapped.map((one) => pack(resourceSchema, one))];
        const response = {
          type_url,
          nonce,
          resources: all,
          version_info: version ?? `v${count}`,
          resource_errors: errors,
        };
        call.write(Buffer.from(encode(discoveryResponse, response)));
      }
      return nonce;
    },
    sendRaw: (bytes) => void call.write(Buffer.from(bytes)),
    end(code, details) {
      if (code === undefined) call.end();
      else call.emit('error', { code, details });
    },
  };
}

/** Things in order, and those who wait for the next. */
function createQueue<T>(): { push(item: T): void; next(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    push(item) {
      const first = waiting.shift();
      if (first === undefined) items.push(item);
      else first(item);
    },
    next: () => {
      const [first] = items.splice(0, 1);
      return first === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(first);
    },
  };
}
