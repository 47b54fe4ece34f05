// grpc-go's own interoperability client calls a server of gRPC behind the mesh: gRPC's cases for servers
// (doc/interop-test-descriptions.md), as far as they are about servers without TLS of their own.
import { execFile } from 'node:child_process';
import { loadPackageDefinition, Metadata, type ServiceClientConstructor } from '@grpc/grpc-js';
import { MeshServer } from '@inmesh/grpc';
import t from 'tap';
import { bound } from '../../../packages/grpc/test/support/served.ts';
import { shopMesh } from '../../support/shop-mesh.ts';
import { goProgram } from '../peers.ts';
import { testServiceDefinition } from './test-service.ts';

interface Asked {
  readonly responseSize?: number;
  readonly responseParameters?: readonly { readonly size?: number }[];
  readonly responseStatus?: { readonly code: number; readonly message: string };
  readonly payload?: { readonly body: Buffer };
}

/** What the handlers use of a call. */
interface Call {
  readonly request: Asked;
  readonly metadata: Metadata;
  sendMetadata(metadata: Metadata): void;
  on(event: string, listener: (message: Asked) => void): unknown;
  emit(event: 'error', error: object): unknown;
  write(message: object): unknown;
  end(trailers?: Metadata): unknown;
}
type Reply = (error: object | null, message?: object, trailers?: Metadata) => void;

const initial = 'x-grpc-test-echo-initial';
const trailing = 'x-grpc-test-echo-trailing-bin';
const payload = (size = 0): object => ({ payload: { body: Buffer.alloc(size) } });

/** Sends back what the caller wants to see in the head, and returns what it wants to see in trailers. */
function echoMetadata(call: Call): Metadata {
  const [head, trailers] = [new Metadata(), new Metadata()];
  for (const value of call.metadata.get(initial)) head.add(initial, value);
  for (const value of call.metadata.get(trailing)) trailers.add(trailing, value);
  call.sendMetadata(head);
  return trailers;
}

const handlers = {
  emptyCall: (_call: Call, reply: Reply) => reply(null, {}),
  unaryCall(call: Call, reply: Reply) {
    const { responseSize, responseStatus } = call.request;
    const trailers = echoMetadata(call);
    if (responseStatus != null) reply({ code: responseStatus.code, details: responseStatus.message });
    else reply(null, payload(responseSize), trailers);
  },
  streamingInputCall(call: Call, reply: Reply) {
    let size = 0;
    call.on('data', (message) => (size += message.payload?.body.length ?? 0));
    call.on('end', () => reply(null, { aggregatedPayloadSize: size }));
  },
  streamingOutputCall(call: Call) {
    for (const { size } of call.request.responseParameters ?? []) call.write(payload(size));
    call.end();
  },
  fullDuplexCall(call: Call) {
    const trailers = echoMetadata(call);
    call.on('data', ({ responseParameters, responseStatus }) => {
      if (responseStatus != null) {
        call.emit('error', { code: responseStatus.code, details: responseStatus.message });
        return;
      }
      for (const { size } of responseParameters ?? []) call.write(payload(size));
    });
    call.on('end', () => call.end(trailers));
  },
};

const cases = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'custom_metadata',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
] as const;

/** Runs a program while this process serves; what it said when it fails. */
function runAside(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 120_000 }, (error, out, said) =>
      resolve(error === null ? undefined : `${error.message} ${out}${said}`.slice(-500)),
    );
  });
}

t.test('a gRPC client in Go calls a server behind the mesh', async (t) => {
  const program = goProgram('grpc-interop-client', 'google.golang.org/grpc/interop/client@v1.85.0');
  if ('why' in program) {
    t.comment(`skipped, there is no peer here: ${program.why}`);
    return;
  }
  const mesh = await shopMesh();
  const server = new MeshServer(mesh as never);
  t.teardown(async () => {
    server.forceShutdown();
    await mesh.close();
  });
  const { grpc } = loadPackageDefinition(testServiceDefinition) as never as {
    grpc: { testing: { TestService: ServiceClientConstructor } };
  };
  server.addService(grpc.testing.TestService.service, handlers as never);
  const port = await bound(server);
  for (const name of cases) {
    const args = ['--server_host=127.0.0.1', `--server_port=${port}`, `--test_case=${name}`];
    const failed = await runAside(program.path, args);
    t.equal(failed, undefined, name);
  }
});
