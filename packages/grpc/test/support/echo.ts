import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServiceError,
  type StatusObject,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Test } from 'tap';
import type { Mesh } from '../../../../src/index.ts';
import type { Route } from '../../../../src/model/route.ts';
import { modelMesh } from '../../../../test/support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../../../../test/support/snapshot.ts';
import { meshChannelOptions } from '../../src/index.ts';

/** What all messages here are. */
export interface Message {
  readonly text: string;
}

const toBytes = (message: Message): Buffer => Buffer.from(JSON.stringify(message));
const fromBytes = (bytes: Buffer): Message => JSON.parse(bytes.toString());

function method(name: string, requestStream: boolean, responseStream: boolean): MethodDefinition<Message, Message> {
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: toBytes,
    requestDeserialize: fromBytes,
    responseSerialize: toBytes,
    responseDeserialize: fromBytes,
  };
}

/** One method of each kind. */
export const echo: Readonly<Record<'unary' | 'gather' | 'scatter' | 'chat', MethodDefinition<Message, Message>>> = {
  unary: method('Unary', false, false),
  gather: method('Gather', true, false),
  scatter: method('Scatter', false, true),
  chat: method('Chat', true, true),
};

/** A server of grpc-js on loopback, stopped at the end of the test. */
export async function echoServer(
  t: Test,
  handlers: UntypedServiceImplementation,
  options: ServerOptions = {},
  secured: ServerCredentials = ServerCredentials.createInsecure(),
  address = '127.0.0.1:0',
): Promise<number> {
  const server = new Server(options);
  server.addService(echo, handlers);
  t.teardown(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync(address, secured, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

/** A client of all four kinds, with promises. */
export class EchoClient extends Client {
  unary(text: string, ...[metadata, options]: Parameters<typeof argsOf>): Promise<string> {
    const [given, more] = argsOf(metadata, options);
    return new Promise((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = echo.unary;
      this.makeUnaryRequest(path, requestSerialize, responseDeserialize, { text }, given, more, (error, reply) => {
        if (error !== null) reject(error);
        else resolve(reply?.text ?? '');
      });
    });
  }

  gather(...[metadata, options]: Parameters<typeof argsOf>): {
    readonly call: ClientWritableStream<Message>;
    readonly reply: Promise<string>;
  } {
    const [given, more] = argsOf(metadata, options);
    const { path, requestSerialize, responseDeserialize } = echo.gather;
    let settle: { resolve(text: string): void; reject(error: Error): void };
    const reply = new Promise<string>((resolve, reject) => (settle = { resolve, reject }));
    const call = this.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      given,
      more,
      (error, message) => {
        if (error !== null) settle.reject(error);
        else settle.resolve(message?.text ?? '');
      },
    );
    return { call, reply };
  }

  scatter(text: string, ...[metadata, options]: Parameters<typeof argsOf>): ClientReadableStream<Message> {
    const [given, more] = argsOf(metadata, options);
    const { path, requestSerialize, responseDeserialize } = echo.scatter;
    return this.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { text }, given, more);
  }

  chat(...[metadata, options]: Parameters<typeof argsOf>): ClientDuplexStream<Message, Message> {
    const [given, more] = argsOf(metadata, options);
    const { path, requestSerialize, responseDeserialize } = echo.chat;
    return this.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, given, more);
  }
}

function argsOf(metadata?: Metadata, options?: CallOptions): [Metadata, CallOptions] {
  return [metadata ?? new Metadata(), options ?? {}];
}

/** A mesh whose service `greeter` is at these ports, and a client of it. */
export async function meshed(
  t: Test,
  ports: readonly number[],
  changes: {
    readonly cluster?: Parameters<typeof cluster>[2];
    readonly route?: Partial<Route>;
    readonly options?: ClientOptions;
    readonly target?: string;
    readonly snapshot?: Parameters<typeof snapshot>[2];
    readonly mesh?: Parameters<typeof modelMesh>[2];
    readonly credentials?: ChannelCredentials;
  } = {},
): Promise<{ readonly mesh: Mesh; readonly client: EchoClient }> {
  const greeter = cluster(
    'greeter',
    ports.map((port) => endpoint(port)),
    changes.cluster ?? { http2: 'always' },
  );
  const routes = { greeter: [route(greeter.name, changes.route)] };
  const mesh = await modelMesh(t, snapshot(routes, [greeter], changes.snapshot), changes.mesh);
  return { mesh, client: clientOf(t, mesh, changes.target ?? 'greeter:80', changes.options, changes.credentials) };
}

export function clientOf(
  t: Test,
  mesh: Mesh,
  target: string,
  options: ClientOptions = {},
  given: ChannelCredentials = credentials.createInsecure(),
): EchoClient {
  const client = new EchoClient(target, given, meshChannelOptions(mesh, options));
  t.teardown(() => client.close());
  return client;
}

/** How a call failed. */
export async function failure(call: Promise<unknown>): Promise<Pick<StatusObject, 'code' | 'details' | 'metadata'>> {
  try {
    await call;
  } catch (error) {
    const { code, details, metadata } = error as ServiceError;
    return { code, details, metadata };
  }
  throw new Error('the call did not fail');
}

/** All messages of a stream. */
export async function textsOf(stream: AsyncIterable<Message>): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of stream) texts.push(text);
  return texts;
}
