import type {
  Client,
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { makeGenericClientConstructor, type ServiceClientConstructor } from '@grpc/grpc-js';

/** What all methods take and give: text. */
const text = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
};

/** A service with a method of each kind, without a .proto file. */
export const echoDefinition = {
  unary: { path: '/test.Echo/Unary', requestStream: false, responseStream: false, ...text },
  collect: { path: '/test.Echo/Collect', requestStream: true, responseStream: false, ...text },
  repeat: { path: '/test.Echo/Repeat', requestStream: false, responseStream: true, ...text },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...text },
} satisfies ServiceDefinition;

/** What the handlers do; a test replaces some. */
export interface EchoHandlers extends UntypedServiceImplementation {
  unary: handleUnaryCall<string, string>;
  collect: handleClientStreamingCall<string, string>;
  repeat: handleServerStreamingCall<string, string>;
  chat: handleBidiStreamingCall<string, string>;
}

/** Answers what it is told; `collect` joins, `repeat` says it three times. */
export const echoHandlers: EchoHandlers = {
  unary: (call, reply) => reply(null, `unary ${call.request}`),
  collect: (call, reply) => {
    const all: string[] = [];
    call.on('data', (message: string) => void all.push(message));
    call.on('end', () => reply(null, all.join(' ')));
  },
  repeat: (call) => {
    for (let i = 1; i <= 3; i++) call.write(`${call.request} ${i}`);
    call.end();
  },
  chat: (call) => {
    call.on('data', (message: string) => void call.write(`chat ${message}`));
    call.on('end', () => call.end());
  },
};

/** Makes clients of the service. */
export const EchoClient: ServiceClientConstructor = makeGenericClientConstructor(echoDefinition, 'Echo');
export type AnyClient = Client;
