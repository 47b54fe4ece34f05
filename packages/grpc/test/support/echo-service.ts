import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  ServiceDefinition,
} from '@grpc/grpc-js';
import { makeGenericClientConstructor, type ServiceClientConstructor } from '@grpc/grpc-js';

/** A method that takes and gives text. */
function method(path: string, requestStream: boolean, responseStream: boolean): MethodDefinition<string, string> {
  const serialize = (value: string): Buffer => Buffer.from(value);
  const deserialize = (bytes: Buffer): string => bytes.toString();
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  };
}

/** A service with a method of each kind, without a .proto file. */
export const echoDefinition: ServiceDefinition = {
  unary: method('/test.Echo/Unary', false, false),
  collect: method('/test.Echo/Collect', true, false),
  repeat: method('/test.Echo/Repeat', false, true),
  chat: method('/test.Echo/Chat', true, true),
};

/** What the handlers do; a test replaces some. */
export interface EchoHandlers {
  readonly unary: handleUnaryCall<string, string>;
  readonly collect: handleClientStreamingCall<string, string>;
  readonly repeat: handleServerStreamingCall<string, string>;
  readonly chat: handleBidiStreamingCall<string, string>;
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
