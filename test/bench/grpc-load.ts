import { once } from 'node:events';
import { connect } from 'node:http2';
import { bytesMethod } from './variants/grpc.ts';

const text = '{"hello":"world"}';
const message = Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), Buffer.from(text)]);

/** Unary calls over one connection, as cheaply as Node can. */
export async function grpcLoad(port: number): Promise<{ call(): Promise<void>; close(): void }> {
  const session = connect(`http://127.0.0.1:${port}`);
  await once(session, 'connect');
  const headers = {
    ':method': 'POST',
    ':path': bytesMethod.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  return {
    call: () =>
      new Promise((resolve, reject) => {
        const stream = session.request(headers);
        let status: unknown;
        stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
        stream.on('error', reject);
        stream.on('close', () => (status === '0' ? resolve() : reject(new Error(`status ${String(status)}`))));
        stream.resume();
        stream.end(message);
      }),
    close: () => session.destroy(),
  };
}
