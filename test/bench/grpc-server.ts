// A gRPC server in a process of its own, for the rows of gRPC: tells its port and answers what it is asked.
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { bytesMethod } from './variants/grpc.ts';

const server = new Server();
server.addService(
  { echo: bytesMethod },
  {
    echo: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => answer(null, call.request),
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send?.(port);
});
process.on('disconnect', () => server.forceShutdown());
